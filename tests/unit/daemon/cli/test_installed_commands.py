"""Commands that installed packages add to the command line, `factd bench` among them."""

import tomllib
from importlib.metadata import EntryPoint

import pytest
import typer
from typer.testing import CliRunner

from factd.daemon.cli.main import COMMANDS, add_installed
from support.paths import ROOT


def declared() -> dict[str, str]:
    """The entry points of factd's own package: name -> what it loads."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points: dict[str, str] = project["entry-points"][COMMANDS]
    return points


def with_commands(points: dict[str, str]) -> typer.Typer:
    cli = typer.Typer(no_args_is_help=True)
    cli.callback()(lambda: None)
    cli.command("own")(lambda: None)
    add_installed(cli, [EntryPoint(name, value, COMMANDS) for name, value in points.items()])
    return cli


def test_the_benchmarks_are_commands_of_the_installed_package() -> None:
    shown = CliRunner().invoke(with_commands(declared()), ["bench", "solve", "--help"])
    assert shown.exit_code == 0
    assert "--tokens" in shown.output


def test_without_an_entry_point_there_are_no_benchmarks() -> None:
    assert CliRunner().invoke(with_commands({}), ["bench", "--help"]).exit_code == 2


@pytest.mark.parametrize("value", ["factd.bench.gone:add", "factd.bench.commands:gone"])
def test_commands_that_cannot_be_loaded_are_named_and_skipped(
    value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli = with_commands({"bench": value})
    assert value in capsys.readouterr().err
    assert CliRunner().invoke(cli, ["own"]).exit_code == 0
