"""Commands about servers, which need no model: servers list, check, sync, retry, history."""

from collections.abc import Sequence
from typing import Annotated

import typer

from factd.daemon.app import App
from factd.daemon.cli import common
from factd.daemon.cli.common import Json, Why, opened, sentences
from factd.daemon.cli.output import show
from factd.daemon.status.servers import said, server_lines
from factd.store import operations
from factd.store.model.handovers import Handover, HandoverStatus

NEWEST = 50  # hand-overs that `history` shows
servers_app = typer.Typer(no_args_is_help=True, help="Servers that releases are handed to.")


@servers_app.command("list")
def servers_list(as_json: Json = False) -> None:
    """What each server serves, as far as is known, and what is on its way to it."""
    with sentences():
        app = opened()
        with app.ledger.read() as session:
            found = server_lines(app.fleet, session)
    lines = [said(line) for line in found] or ["no servers; [servers.NAME] names one"]
    show([line.as_json() for line in found], lines, as_json=as_json)


@servers_app.command("check")
def servers_check(name: str, as_json: Json = False) -> None:
    """Ask one server now: what it says that it serves, and whether its answers are those of the live release."""
    from factd.daemon.rollout.check import check

    with sentences():
        app = opened()
        found = check(app.ledger, app.paths, app.versions, app.fleet, name)
    lines = [f"{name} says that it serves {found['serving'] or '(it cannot say)'}"]
    lines += [f"{found['asked'] - len(found['wrong'])} of {found['asked']} answers fit"]
    show(found, [*lines, *found["wrong"]], as_json=as_json)
    if not found["fits"]:
        common.fail(
            f"{name} does not serve release {found['release']}; `factd servers retry {name}`"
        )


@servers_app.command("sync")
def servers_sync(as_json: Json = False) -> None:
    """Hand over now what is due; the daemon does this by itself. Exit 1 where a server does not have what it should."""
    with sentences():
        found = handed_over(opened())
    show(
        [one.as_json() for one in found],
        handover_lines(found) or ["nothing is due"],
        as_json=as_json,
    )
    refuse_failed(found)


@servers_app.command("retry")
def servers_retry(name: str, why: Why = "retried by hand", as_json: Json = False) -> None:
    """Give a server the live release again, also where it was given up."""
    from factd.daemon.rollout import outbox

    with sentences():
        app = opened()
        outbox.retry(app.ledger, app.fleet, name, who=common.who(), why=why)
        found = handed_over(app)
    show([one.as_json() for one in found], handover_lines(found), as_json=as_json)
    refuse_failed(found)


@servers_app.command("history")
def servers_history(
    name: Annotated[str, typer.Argument(help="Of one server; none: of all.")] = "",
    as_json: Json = False,
) -> None:
    """Hand-overs, the newest first."""
    with sentences(), opened().ledger.read() as session:
        found = operations.handovers.list_handovers(session, limit=NEWEST, server=name)
    show([one.as_json() for one in found], handover_lines(found) or ["none yet"], as_json=as_json)


def handed_over(app: App, *, seize: bool = False) -> tuple[Handover, ...]:
    """What was tried now; nothing where no server is configured. Raises: Busy."""
    from factd.daemon.publishing import canary_rollback
    from factd.daemon.rollout import outbox

    parts = (app.ledger, app.paths, app.versions, app.fleet)
    found = outbox.hand_over_due(*parts, seize=seize)
    if canary_rollback.take_back(*parts) is not None:
        found = (*found, *outbox.hand_over_due(*parts))
    return found


def handover_lines(found: Sequence[Handover]) -> list[str]:
    """Hand-overs for people."""
    return [handover_line(one) for one in found]


def handover_line(one: Handover) -> str:
    """A hand-over in words."""
    head = f"{one.changed_at:%Y-%m-%d %H:%M:%S}  {one.server:<12} release {one.release:<5}"
    if one.status is HandoverStatus.DONE:
        asked = one.detail.get("asked", 0)
        proof = f"{asked} answers fit" if asked else "not asked"
        return f"{head} done in {one.detail.get('seconds', 0):.1f} s, {proof}"
    back = {True: "; what it had serves again", False: "; WHAT IT HAD IS NOT RESTORED", None: ""}
    error = f": {one.error}{back[one.restored]}" if one.error else ""
    return f"{head} {one.status.value}, attempt {one.attempts}{error}"


def refuse_failed(found: Sequence[Handover]) -> None:
    """Exit with 1 where a server does not have what it was to have."""
    newest = {one.server: one for one in sorted(found, key=lambda one: one.id)}
    bad = [one for one in newest.values() if one.status is not HandoverStatus.DONE]
    if bad:
        names = ", ".join(one.server for one in bad)
        common.fail(f"not handed over to {names}: {bad[0].error}; see `factd servers list`")


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(servers_app, name="servers")
