"""The generated pages: every command, setting and series has its place, as the live objects say."""

import dataclasses
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from reference_pages import live
from reference_pages.__main__ import FOLDER, PAGES
from reference_pages.settings import said_in

from factd.daemon.cli.main import cli
from factd.daemon.configuration import Config
from factd.daemon.gates.measures import Threshold
from factd.daemon.metrics import exporter

PLUGINS = {
    "sources": "sources",
    "publish": "publishers",
    "servers": "servers",
    "notify": "channels",
}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {name: made() for name, made in PAGES.items()}


@pytest.mark.parametrize("name", PAGES)
def test_the_page_in_the_repository_is_what_the_code_says_today(
    name: str, texts: dict[str, str]
) -> None:
    assert (FOLDER / name).read_text() == texts[name], "run `make docs`"


def sections(text: str) -> dict[str, str]:
    """Title -> text of the sections of a page, of whatever level."""
    parts = re.split(r"(?m)^#+ ", text)[1:]
    return {part.split("\n")[0]: part for part in parts}


def registered(typer_app: Any, path: str = "factd") -> Iterator[tuple[str, Any]]:
    """Full name and function of every command that was registered with typer."""
    for command in typer_app.registered_commands:
        name = command.name or command.callback.__name__.strip("_").replace("_", "-")
        yield f"{path} {name}", command.callback
    for group in typer_app.registered_groups:
        yield from registered(group.typer_instance, f"{path} {group.name}")


def test_every_command_has_its_section(texts: dict[str, str]) -> None:
    found = sections(texts["command-line.md"])
    names = {name for name, _ in registered(cli)}
    assert len(names) > 80
    assert names - set(found) == set()


def test_every_option_of_a_command_is_in_its_section(texts: dict[str, str]) -> None:
    def missing(path: str, command: Any) -> Iterator[str]:
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                yield from (o for o in parameter.opts if o not in found[path].split("```")[-1])
        for name, child in getattr(command, "commands", {}).items():
            yield from missing(f"{path} {name}", child)

    found = sections(texts["command-line.md"])
    assert list(missing("factd", live.command_line())) == []


def tables(name: str, cls: type[BaseModel]) -> Iterator[tuple[str, set[str]]]:
    """Title and keys of a table and of the tables within it."""
    own = set()
    for key, field in cls.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Threshold:
            yield from tables(f"{name}.{key}" if name else key, kind)
        elif not field.exclude:
            own.add(key)
    yield (f"[{name}]" if name else "Top level"), own


def plugin_tables() -> Iterator[tuple[str, set[str]]]:
    """Title and keys of every kind of source, publisher, server, channel, and of every method."""
    root = Path(import_module("factd.daemon").__path__[0])
    for table, folder in PLUGINS.items():
        for path in (root / folder).glob("[!_]*.py"):
            module = import_module(f"factd.daemon.{folder}.{path.stem}")
            yield f'[{table}.NAME] kind = "{path.stem}"', set(module.Settings.model_fields)
    methods = Path(import_module("factd.editor.methods").__path__[0])
    for path in methods.glob("[!_]*.py"):
        module = import_module(f"factd.editor.methods.{path.stem}")
        yield f"[method.{path.stem}]", {f.name for f in dataclasses.fields(module.Settings)}


def test_every_setting_has_its_row_in_the_section_of_its_table(texts: dict[str, str]) -> None:
    found = sections(texts["configuration.md"])
    there = {t: set(re.findall(r"(?m)^\| `(\w+)` \|", part)) for t, part in found.items()}
    wanted = dict([*tables("", Config), *plugin_tables()])
    assert len(wanted) > 45
    assert {
        t: keys - there.get(t, set()) for t, keys in wanted.items() if keys - there.get(t, set())
    } == {}


def test_every_setting_has_a_meaning(texts: dict[str, str]) -> None:
    rows = re.findall(r"(?m)^\| `(\w+)` \| .* \| (.*) \|$", texts["configuration.md"])
    assert len(rows) > 500
    assert [name for name, meaning in rows if meaning == "–"] == []


def test_a_setting_that_is_left_out_would_be_noticed(texts: dict[str, str]) -> None:
    text = texts["configuration.md"].replace("| `known_sample` |", "| `unknown` |")
    with pytest.raises(AssertionError):
        test_every_setting_has_its_row_in_the_section_of_its_table({"configuration.md": text})


def test_every_series_has_its_row_with_a_type_and_a_meaning(texts: dict[str, str]) -> None:
    rows = dict(re.findall(r"(?m)^\| `(factd_\w+)` \| (.*) \|$", texts["metrics.md"]))
    assert set(rows) == set(re.findall(r"(?m)^(factd_\w+)", exporter.__doc__ or ""))
    unclear = {name for name, row in rows.items() if not row.split(" | ")[0] or row.endswith("–")}
    assert unclear == set()


SOURCE = '''
class Example(BaseModel):
    """A table."""

    first: int = 1  # said behind it
    second: int = (
        2  # said in the middle
    )
    third: int = 3
    """Said below it."""
    fourth: str = "# not a comment"
'''


def test_the_meaning_of_a_setting_stands_behind_or_below_it_in_the_code() -> None:
    assert said_in(SOURCE) == {
        "first": "said behind it",
        "second": "said in the middle",
        "third": "Said below it.",
    }
