"""The command line. `--json` prints exactly one document on stdout; exit code 0 done, 1 refused or failed, 2 usage."""

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

from daemon import log
from daemon.config import DEFAULT, PREFIX, load_config, shown
from daemon.console import show
from daemon.errors import FactdError
from store.errors import StoreError

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
STATE: dict[str, Path] = {"config": DEFAULT}


@app.callback()
def options(
    config: Annotated[
        Path, typer.Option(envvar=f"{PREFIX}CONFIG", help="The configuration file.")
    ] = DEFAULT,
    log_json: Annotated[bool, typer.Option(help="Logs as JSON.")] = False,
) -> None:
    """factd keeps the factual knowledge inside an open-weight language model current."""
    STATE["config"] = config
    log.configure(as_json=log_json)


def config_path() -> Path:
    """The configuration file that was named."""
    return STATE["config"]


def who() -> str:
    """Who is at the keyboard, for the audit log."""
    return os.environ.get("USER") or getpass.getuser()


@contextmanager
def sentences() -> Iterator[None]:
    """Errors that were raised on purpose become one sentence on stderr and exit code 1."""
    try:
        yield
    except (FactdError, StoreError) as error:
        fail(str(error))
    except Exception as error:
        if type(error).__module__ != "editor.errors":
            raise
        fail(str(error))


def fail(sentence: str) -> None:
    """Say why, and exit with 1."""
    sys.stderr.write(f"factd: {sentence}\n")
    raise typer.Exit(1)


def version_command(as_json: Json = False) -> None:
    """Print the version."""
    show({"version": version("factd")}, [version("factd")], as_json=as_json)


app.command("version")(version_command)


@app.command()
def init(directory: Path, model: Path | None = None, as_json: Json = False) -> None:
    """Make a configuration to start from."""
    from daemon.example import EXAMPLE

    path = directory / "factd.toml"
    with sentences():
        if path.exists():
            raise FactdError(f"{path} is there already; remove it or name another folder")
        directory.mkdir(parents=True, exist_ok=True)
        path.write_text(EXAMPLE.format(model=model or "model"), encoding="utf-8")
    show(
        {"config": str(path)},
        [f"wrote {path}: set [model] path, then `factd --config {path} db upgrade`"],
        as_json=as_json,
    )


config_app = typer.Typer(no_args_is_help=True, help="The configuration.")
app.add_typer(config_app, name="config")


@config_app.command("check")
def config_check(as_json: Json = False) -> None:
    """Validate the file, the environment, the catalogue and the method's settings."""
    from daemon.bootstrap import build

    with sentences():
        factd = build(load_config(config_path()))
        factd.method_settings()
        if not (factd.config.model.path / "config.json").is_file():
            raise FactdError(
                f"[model] path: {factd.config.model.path} is no model (it has no config.json)"
            )
    show({"ok": True}, [f"{config_path()} is good"], as_json=as_json)


@config_app.command("show")
def config_show(as_json: Json = False) -> None:
    """Effective values with their origin, secrets masked."""
    with sentences():
        config = load_config(config_path())
    rows = shown(config, config_path())
    width = max(len(name) for name in rows)
    lines = [f"{name:<{width}}  {row['value']}  ({row['origin']})" for name, row in rows.items()]
    show(rows, lines, as_json=as_json)


db_app = typer.Typer(no_args_is_help=True, help="The database's schema.")
app.add_typer(db_app, name="db")


@db_app.command("upgrade")
def db_upgrade(as_json: Json = False) -> None:
    """Bring the schema to this program's newest revision."""
    from daemon.bootstrap import build
    from store import migrate, release_queries

    with sentences():
        factd = build(load_config(config_path()))
        revision = migrate.upgrade(factd.config.database)
        with factd.store.begin() as session:
            release_queries.ensure_base(session, now=factd.now())
    show({"revision": revision}, [f"the database is at {revision}"], as_json=as_json)


@db_app.command("check")
def db_check(as_json: Json = False) -> None:
    """Exit 1 where the schema is not this program's."""
    from store import migrate

    with sentences():
        migrate.check(load_config(config_path()).database)
    show({"ok": True}, ["the database has this program's schema"], as_json=as_json)


@db_app.command("current")
def db_current(as_json: Json = False) -> None:
    """The revision of the database."""
    from store import migrate

    with sentences():
        revision = migrate.current(load_config(config_path()).database)
    show({"revision": revision}, [revision or "none"], as_json=as_json)


def register() -> None:
    """Add the commands of the other files."""
    from daemon import commands, commands_model

    commands.add(app)
    commands_model.add(app)


Command = Callable[..., Any]
register()


def main() -> None:
    """The entry point `factd`."""
    app()


if __name__ == "__main__":
    main()
