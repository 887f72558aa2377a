"""Commands that set factd up: version, init, config, db."""

from importlib.metadata import version
from pathlib import Path

import typer

from factd.daemon.app import build
from factd.daemon.cli.common import Json, config_path, kept, sentences
from factd.daemon.cli.output import show
from factd.daemon.config.load import Config, load_config, shown
from factd.daemon.errors import FactdError


def version_command(as_json: Json = False) -> None:
    """Print the version."""
    show({"version": version("factd")}, [version("factd")], as_json=as_json)


def init(directory: Path, model: Path | None = None, as_json: Json = False) -> None:
    """Make a configuration to start from."""
    from factd.daemon.config.example import EXAMPLE

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


@config_app.command("check")
def config_check(as_json: Json = False) -> None:
    """Validate the file, environment, catalogue, the method's settings; sources, channels and servers with their secrets."""
    from factd.daemon.publishing import signing

    with sentences():
        app = kept(build(load_config(config_path())))
        app.workbench.method_settings()
        for source in app.sources.values():
            source.settings.ready()
        for channel in app.channels.values():
            channel.settings.ready()
        for server in app.fleet.servers.values():
            server.settings.ready()
        signing.ready(app.config.publish)
        if not (app.workbench.table.path / "config.json").is_file():
            raise FactdError(
                f"[model] path: {app.workbench.table.path} is no model (it has no config.json)"
            )
    show({"ok": True}, [f"{config_path()} is good"], as_json=as_json)


@config_app.command("show")
def config_show(as_json: Json = False) -> None:
    """Effective values with their origin, secrets masked; and the base in effect, where that is not the configured model."""
    with sentences():
        config = load_config(config_path())
        rows = shown(config, config_path()) | base_row(config)
    width = max(len(name) for name in rows)
    lines = [f"{name:<{width}}  {row['value']}  ({row['origin']})" for name, row in rows.items()]
    show(rows, lines, as_json=as_json)


def base_row(config: Config) -> dict[str, dict[str, str]]:
    """What stands in for [model] path; nothing where that itself does, or where there is no database yet."""
    from factd.store import queries
    from factd.store.database import migrate
    from factd.store.errors import StoreError

    try:
        migrate.check(config.database)
    except StoreError:
        return {}
    app = kept(build(config))
    with app.ledger.read() as session:
        found = queries.bases.lineage(session, queries.bases.in_effect(session))
    if not found:
        return {}
    value = f"{app.paths.base(found[0].number)}: {found[0].describe()}"
    return {"model.path in effect": {"value": value, "origin": "rebase"}}


db_app = typer.Typer(no_args_is_help=True, help="The database's schema.")


@db_app.command("upgrade")
def db_upgrade(as_json: Json = False) -> None:
    """Bring the schema to this program's newest revision."""
    from factd.store import queries
    from factd.store.database import migrate

    with sentences():
        app = kept(build(load_config(config_path())))
        revision = migrate.upgrade(app.config.database)
        with app.ledger.begin() as session:
            queries.releases.ensure_release_zero(session, now=app.ledger.now())
    show({"revision": revision}, [f"the database is at {revision}"], as_json=as_json)


@db_app.command("check")
def db_check(as_json: Json = False) -> None:
    """Exit 1 where the schema is not this program's."""
    from factd.store.database import migrate

    with sentences():
        migrate.check(load_config(config_path()).database)
    show({"ok": True}, ["the database has this program's schema"], as_json=as_json)


@db_app.command("current")
def db_current(as_json: Json = False) -> None:
    """The revision of the database."""
    from factd.store.database import migrate

    with sentences():
        revision = migrate.current(load_config(config_path()).database)
    show({"revision": revision}, [revision or "none"], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.command("version")(version_command)
    cli.command()(init)
    cli.add_typer(config_app, name="config")
    cli.add_typer(db_app, name="db")
