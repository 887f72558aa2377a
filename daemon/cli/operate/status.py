"""The command `factd status`. It loads no model."""

import typer

from factd.daemon.cli.common import Json, configured_app, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.status.overview import overview, overview_json, overview_lines
from factd.store import queries


def status(as_json: Json = False) -> None:
    """Show how factd stands, on one screen.

    The live release, the queue, sources, servers, what can still be written, and the last runs.
    """
    with reported_errors():
        app = configured_app()
        now = overview(app.ledger, app.versions, app.planning, app.fleet, app.config.approvals)
        with app.ledger.read() as session:
            live = queries.releases.live_release(session) if as_json else None
    show(overview_json(now, live), overview_lines(now), as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the command of this file."""
    cli.command()(status)
