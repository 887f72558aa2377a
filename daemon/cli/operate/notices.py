"""Commands about notices, which need no model: notices list, notices test."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from factd.daemon.cli.common import Json, opened, sentences
from factd.daemon.cli.output import show
from factd.store import operations
from factd.store.model.operations import Dispatch, DispatchStatus, Notice

NEWEST = 100  # notices that --all shows
notices_app = typer.Typer(no_args_is_help=True, help="What people should know, and who was told.")


@notices_app.command("list")
def notices_list(
    every: Annotated[bool, typer.Option("--all", help="Also what is over.")] = False,
    as_json: Json = False,
) -> None:
    """What holds now, and how it stands on each channel."""
    with sentences(), opened().ledger.read() as session:
        if every:
            found = operations.notices.newest_notices(session, limit=NEWEST)
        else:
            found = list(operations.notices.open_notices(session).values())
        given = operations.notices.dispatches_of_notices(session, [notice.id for notice in found])
    by_notice = {n.id: [one for one in given if one.notice.id == n.id] for n in found}
    lines = [line for notice in found for line in notice_lines(notice, by_notice[notice.id])]
    data = [notice_json(notice, by_notice[notice.id]) for notice in found]
    show(data, lines or ["nothing that people should know"], as_json=as_json)


def notice_lines(notice: Notice, given: Sequence[Dispatch]) -> list[str]:
    """A notice for people, with its channels."""
    times = f", {notice.count} times" if notice.count > 1 else ""
    ended = f", over {notice.over_at:%Y-%m-%d %H:%M}" if notice.over_at else ""
    head = f"{notice.id:>4}  {notice.first_at:%Y-%m-%d %H:%M}  {notice.kind}{times}{ended}"
    return [head, f"      {notice.text}", *(f"      {channel_line(one)}" for one in given)]


def channel_line(one: Dispatch) -> str:
    """How a notice stands on a channel, in words."""
    if one.status is DispatchStatus.SENT and one.sent_at:
        return f"{one.channel}: sent {one.sent_at:%Y-%m-%d %H:%M}"
    if one.status is DispatchStatus.FAILED:
        return f"{one.channel}: given up after {one.attempts} attempts: {one.error}"
    tried = f", attempt {one.attempts} failed: {one.error}" if one.attempts else ""
    return f"{one.channel}: waits{tried}"


def notice_json(notice: Notice, given: Sequence[Dispatch]) -> dict[str, Any]:
    """For `--json`."""
    return {
        "id": notice.id,
        "key": notice.key,
        "kind": notice.kind,
        "text": notice.text,
        "data": dict(notice.data),
        "first_at": notice.first_at.isoformat(),
        "last_at": notice.last_at.isoformat(),
        "count": notice.count,
        "over_at": notice.over_at.isoformat() if notice.over_at else None,
        "channels": [
            {
                "channel": one.channel,
                "status": one.status.value,
                "attempts": one.attempts,
                "error": one.error or None,
                "sent_at": one.sent_at.isoformat() if one.sent_at else None,
            }
            for one in given
        ],
    }


@notices_app.command("test")
def notices_test(channel: str, as_json: Json = False) -> None:
    """Send a message over a channel now, and say what happened."""
    from factd.daemon.notifications.dispatch import try_out

    with sentences():
        app = opened()
        sent = try_out(app.ledger, app.channels, channel)
    show({"channel": channel, "sent": sent.id}, [f"{channel} took {sent.id}"], as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(notices_app, name="notices")
