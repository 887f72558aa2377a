"""The commands `factd servers`. They load no model."""

from collections.abc import Sequence
from typing import Annotated

import typer

from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, configured_app, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.publishing.hand_over import hand_over_due
from factd.daemon.rollout import outbox
from factd.daemon.rollout.check import check
from factd.daemon.status.handovers import failed_handovers, handover_lines
from factd.daemon.status.servers import server_lines, server_text
from factd.store import operations
from factd.store.model.handovers import Handover

HISTORY_SHOWN = 50  # hand-overs that `history` lists
servers_app = typer.Typer(no_args_is_help=True, help="Servers that releases are handed to.")
Name = Annotated[str, typer.Argument(help="The server's name, as in [servers.NAME].")]


@servers_app.command("list")
def servers_list(as_json: Json = False) -> None:
    """List the servers and which release each serves.

    Also shows the hand-over under way and the last error.
    """
    with reported_errors():
        app = configured_app()
        with app.ledger.read() as session:
            rows = server_lines(app.fleet, session)
    none = ["no servers are configured, or no release is live; [servers.NAME] names a server"]
    lines = [server_text(row) for row in rows] or none
    show([row.as_json() for row in rows], lines, as_json=as_json)


@servers_app.command("check")
def servers_check(name: Name, as_json: Json = False) -> None:
    """Ask one server now which release it serves.

    Its answers are compared with those of the live release. Exit code 1 if they differ.
    """
    with reported_errors():
        app = configured_app()
        result = check(app.ledger, app.paths, app.versions, app.fleet, name)
    lines = [f"{name} says that it serves {result['serving'] or '(it cannot say)'}"]
    lines += [f"{result['asked'] - len(result['wrong'])} of {result['asked']} answers fit"]
    show(result, [*lines, *result["wrong"]], as_json=as_json)
    if not result["fits"]:
        common.fail(
            f"{name} does not serve release {result['release']}; "
            f"`factd servers retry {name}` hands it over again"
        )


@servers_app.command("sync")
def servers_sync(as_json: Json = False) -> None:
    """Do the hand-overs that are due now.

    The daemon does this by itself. Exit code 1 if a server did not take its release.
    """
    with reported_errors():
        app = configured_app()
        handovers = hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    lines = handover_lines(handovers) or ["nothing is due"]
    show([handover.as_json() for handover in handovers], lines, as_json=as_json)
    fail_if_not_taken(handovers)


@servers_app.command("retry")
def servers_retry(name: Name, why: Why = "retried by hand", as_json: Json = False) -> None:
    """Hand the live release to a server again, also after factd has given up on the server."""
    with reported_errors():
        app = configured_app()
        outbox.retry(app.ledger, app.fleet, name, who=common.operator_name(), why=why)
        handovers = hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    show([h.as_json() for h in handovers], handover_lines(handovers), as_json=as_json)
    fail_if_not_taken(handovers)


@servers_app.command("history")
def servers_history(
    name: Annotated[str, typer.Argument(help="One server. Without it: all servers.")] = "",
    as_json: Json = False,
) -> None:
    """List hand-overs, newest first."""
    with reported_errors(), configured_app().ledger.read() as session:
        handovers = operations.handovers.list_handovers(session, limit=HISTORY_SHOWN, server=name)
    lines = handover_lines(handovers) or ["no hand-overs yet"]
    show([handover.as_json() for handover in handovers], lines, as_json=as_json)


def fail_if_not_taken(handovers: Sequence[Handover]) -> None:
    """Exit with 1 if a server did not take its release."""
    failed = failed_handovers(handovers)
    if failed:
        names = ", ".join(handover.server for handover in failed)
        common.fail(f"not handed over to {names}: {failed[0].error}; see `factd servers list`")


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(servers_app, name="servers")
