"""The commands that set factd up: `factd version`, `init`, `config` and `db`."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from factd.daemon.app import build
from factd.daemon.cli.common import Json, closed_at_end, config_path, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.config.example import example
from factd.daemon.configuration import Config, effective_values, load_config
from factd.daemon.editing.settings import checked_settings, known_settings_of
from factd.daemon.errors import FactdError
from factd.daemon.models import resolve
from factd.daemon.publishing import signing
from factd.store import queries
from factd.store.database import migrate
from factd.store.errors import StoreError


def version_command(as_json: Json = False) -> None:
    """Print the version."""
    show({"version": version("factd")}, [version("factd")], as_json=as_json)


def init(
    directory: Annotated[Path, typer.Argument(help="The folder that gets factd.toml.")],
    model: Annotated[
        Path | None,
        typer.Option(help="The base model's folder, or a name of `factd models list`."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write an example configuration to start from."""
    path = directory / "factd.toml"
    with reported_errors():
        if path.exists():
            raise FactdError(f"{path} exists already; remove it, or name another folder")
        model = resolve(model) if model else None
        directory.mkdir(parents=True, exist_ok=True)
        found = known_settings_of(model) if model else None
        table, source = (found.table, found.source) if found else (None, "")
        text = example(str(model or "model"), table, source)
        path.write_text(text, encoding="utf-8")
    lines = [f"wrote {path}: set [model] path, then `factd --config {path} db upgrade`"]
    if found:
        lines += [f"settings from {found.source}", *found.notes]
    elif model:
        lines.append(
            f"no settings are known for {model}: the first `factd edit` searches for them, or run "
            f"`factd tune {model}`"
        )
    data = {"config": str(path), "settings_source": found.source if found else None}
    show(data, lines, as_json=as_json)


config_app = typer.Typer(no_args_is_help=True, help="The configuration: check it and show it.")


@config_app.command("check")
def config_check(as_json: Json = False) -> None:
    """Validate the configuration.

    This includes the environment, the catalogue, the method's settings, and the sources, channels
    and servers with the secrets that they name.
    """
    with reported_errors():
        app = closed_at_end(build(load_config(config_path())))
        settings = checked_settings(app.workbench)
        for source in app.sources.values():
            source.settings.ready()
        for channel in app.channels.values():
            channel.settings.ready()
        for server in app.fleet.servers.values():
            server.settings.ready()
        signing.ready(app.config.publish)
        folder = app.workbench.table.path
        if not (folder / "config.json").is_file():
            raise FactdError(
                f"[model] path: {folder} is not a model folder (it has no config.json)"
            )
    lines = [f"{config_path()} is valid", *([settings] if settings else [])]
    show({"ok": True}, lines, as_json=as_json)


@config_app.command("show")
def config_show(as_json: Json = False) -> None:
    """Show the values in effect and where each comes from.

    Secrets are masked. If a rebase put another base in effect than [model] path, it is shown, too.
    """
    with reported_errors():
        config = load_config(config_path())
        rows = effective_values(config, config_path()) | base_row(config)
    width = max(len(name) for name in rows)
    lines = [f"{name:<{width}}  {row['value']}  ({row['origin']})" for name, row in rows.items()]
    show(rows, lines, as_json=as_json)


def base_row(config: Config) -> dict[str, dict[str, str]]:
    """The base that is used in place of [model] path.

    Empty if [model] path itself is in effect, or if there is no database yet.
    """
    try:
        migrate.check(config.database)
    except StoreError:
        return {}
    app = closed_at_end(build(config))
    with app.ledger.read() as session:
        lineage = queries.bases.lineage(session, queries.bases.in_effect(session))
    if not lineage:
        return {}
    value = f"{app.paths.base(lineage[0].number)}: {lineage[0].describe()}"
    return {"model.path in effect": {"value": value, "origin": "rebase"}}


db_app = typer.Typer(no_args_is_help=True, help="The database's schema.")


@db_app.command("upgrade")
def db_upgrade(as_json: Json = False) -> None:
    """Create the schema, or upgrade it to the newest revision of this program."""
    with reported_errors():
        app = closed_at_end(build(load_config(config_path())))
        revision = migrate.upgrade(app.config.database)
        with app.ledger.begin() as session:
            queries.releases.ensure_release_zero(session, now=app.ledger.now())
    show({"revision": revision}, [f"the database is at {revision}"], as_json=as_json)


@db_app.command("check")
def db_check(as_json: Json = False) -> None:
    """Check that the schema is the one of this program. Exit code 1 if not."""
    with reported_errors():
        migrate.check(load_config(config_path()).database)
    show({"ok": True}, ["the database has this program's schema"], as_json=as_json)


@db_app.command("current")
def db_current(as_json: Json = False) -> None:
    """Print the schema revision of the database."""
    with reported_errors():
        revision = migrate.current(load_config(config_path()).database)
    show({"revision": revision}, [revision or "no schema; run `factd db upgrade`"], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.command("version")(version_command)
    cli.command()(init)
    cli.add_typer(config_app, name="config")
    cli.add_typer(db_app, name="db")
