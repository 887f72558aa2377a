"""The commands `factd run`, `factd worker`, `factd freeze` and `factd unfreeze`."""

from typing import Annotated

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, configured_app, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.runtime.worker import WorkerProcess
from factd.store import queries


def run() -> None:
    """Run the daemon: poll, edit, check, publish and audit on schedule.

    It also serves the console and /metrics, and runs until SIGTERM.
    """
    from factd.daemon.runtime.daemon import Daemon  # imports web server

    with reported_errors():
        Daemon(configured_app(), common.config_path()).run()


def worker(
    parent: Annotated[
        int | None, typer.Option(hidden=True, help="End when this process has ended.")
    ] = None,
) -> None:
    """Run a worker: it does the tasks that load a model.

    Tasks are edit, audit and statistics. The daemon starts workers by itself; start others by hand
    on other machines. A worker runs until SIGTERM.
    """
    with reported_errors():
        code = WorkerProcess(configured_app(), parent=parent).run()
    raise typer.Exit(code)


def freeze(
    why: Annotated[str, typer.Option("--why", help="The reason, for the audit log.")],
    as_json: Json = False,
) -> None:
    """Freeze factd: no edits and no publishing until `factd unfreeze`.

    The live release stays live.
    """
    with reported_errors():
        app = configured_app()
        who = common.operator_name()
        with app.ledger.begin() as session:
            queries.releases.freeze(session, why=why, who=who, now=app.ledger.now())
    show({"frozen": why}, [f"frozen: {why}"], as_json=as_json)


def unfreeze(as_json: Json = False) -> None:
    """Lift the freeze: edits and publishing start again."""
    with reported_errors():
        app = configured_app()
        who = common.operator_name()
        with app.ledger.begin() as session:
            was_frozen = queries.releases.unfreeze(session, who=who, now=app.ledger.now())
    lines = ["no longer frozen" if was_frozen else "factd was not frozen"]
    show({"was_frozen": was_frozen}, lines, as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    for command in (run, worker, freeze, unfreeze):
        cli.command()(command)
