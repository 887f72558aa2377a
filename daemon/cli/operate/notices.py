"""The commands `factd notices list` and `factd notices test`. They load no model."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from factd.daemon.cli.common import Json, configured_app, reported_errors
from factd.daemon.cli.output import show
from factd.daemon.notifications.dispatch import send_test_message
from factd.store import operations
from factd.store.model.operations import Dispatch, DispatchStatus, Notice

NEWEST_SHOWN = 100  # notices that --all lists
notices_app = typer.Typer(
    no_args_is_help=True, help="Notices for operators, and whether each channel has sent them."
)


@notices_app.command("list")
def notices_list(
    every: Annotated[bool, typer.Option("--all", help="List notices that are over, too.")] = False,
    as_json: Json = False,
) -> None:
    """List the notices that hold now, and for each channel whether it was sent."""
    with reported_errors(), configured_app().ledger.read() as session:
        if every:
            notices = operations.notices.newest_notices(session, limit=NEWEST_SHOWN)
        else:
            notices = list(operations.notices.open_notices(session).values())
        dispatches = operations.notices.dispatches_of_notices(session, [n.id for n in notices])
    by_notice = {n.id: [d for d in dispatches if d.notice.id == n.id] for n in notices}
    lines = [line for n in notices for line in notice_lines(n, by_notice[n.id])]
    data = [notice_json(n, by_notice[n.id]) for n in notices]
    show(data, lines or ["no notices: nothing needs your attention"], as_json=as_json)


def notice_lines(notice: Notice, dispatches: Sequence[Dispatch]) -> list[str]:
    """A notice and a line for each of its channels."""
    times = f", {notice.count} times" if notice.count > 1 else ""
    ended = f", over {notice.over_at:%Y-%m-%d %H:%M}" if notice.over_at else ""
    head = f"{notice.id:>4}  {notice.first_at:%Y-%m-%d %H:%M}  {notice.kind}{times}{ended}"
    return [
        head,
        f"      {notice.text}",
        *(f"      {channel_line(dispatch)}" for dispatch in dispatches),
    ]


def channel_line(dispatch: Dispatch) -> str:
    """Whether a channel has sent a notice."""
    channel, attempts, error = dispatch.channel, dispatch.attempts, dispatch.error
    if dispatch.status is DispatchStatus.SENT and dispatch.sent_at:
        return f"{channel}: sent {dispatch.sent_at:%Y-%m-%d %H:%M}"
    if dispatch.status is DispatchStatus.FAILED:
        return f"{channel}: given up after {attempts} attempts: {error}"
    return f"{channel}: waits" + (f", attempt {attempts} failed: {error}" if attempts else "")


def notice_json(notice: Notice, dispatches: Sequence[Dispatch]) -> dict[str, Any]:
    """A notice and its channels for `--json`."""
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
                "channel": dispatch.channel,
                "status": dispatch.status.value,
                "attempts": dispatch.attempts,
                "error": dispatch.error or None,
                "sent_at": dispatch.sent_at.isoformat() if dispatch.sent_at else None,
            }
            for dispatch in dispatches
        ],
    }


@notices_app.command("test")
def notices_test(
    channel: Annotated[str, typer.Argument(help="The channel's name, as in [notify.NAME].")],
    as_json: Json = False,
) -> None:
    """Send a test message over a channel now, and say whether the channel took it."""
    with reported_errors():
        app = configured_app()
        sent = send_test_message(app.ledger, app.channels, channel)
    lines = [f"{channel} took message {sent.id}"]
    show({"channel": channel, "sent": sent.id}, lines, as_json=as_json)


def add(cli: typer.Typer) -> None:
    """Register the commands of this file."""
    cli.add_typer(notices_app, name="notices")
