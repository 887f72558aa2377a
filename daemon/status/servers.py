"""Which release each server serves, compared with the live one.

`factd servers list`, `factd status`, the console and its API show the same rows.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from factd.daemon.fleet import Fleet
from factd.daemon.rollout.strategy import ServerProgress
from factd.store import queries
from factd.store.model.handovers import HandoverStatus


@dataclass(frozen=True, kw_only=True)
class ServerLine:
    """A server, the release that it serves, and its last hand-over."""

    name: str
    kind: str
    canary: bool
    status: str  # good: serves the live release; waiting: will get it; failing: did not take it
    release: int | None  # the release that the server serves; None: not known
    version: str  # the name of that version; empty: not known
    wanted: int | None  # the live release
    handover: int | None  # the release of the last hand-over to the server
    handover_status: str
    attempts: int  # at the last hand-over
    error: str
    seen_at: datetime | None  # when the server last answered

    def as_json(self) -> dict[str, Any]:
        """The row for `--json`."""
        seen = self.seen_at.isoformat() if self.seen_at else None
        return {**vars(self), "seen_at": seen}


def server_lines(fleet: Fleet, session: Session) -> tuple[ServerLine, ...]:
    """A row for each configured server, in the order of their names; no rows before a release is
    live.
    """
    if not fleet.table.tables():
        return ()  # without servers, the modules that hand over are not imported
    from factd.daemon.rollout import outbox

    live = queries.releases.live_release(session)
    if live is None:
        return ()
    return tuple(
        _line(progress, fleet.servers[progress.name].settings.kind, live.number)
        for progress in outbox.progress_of_servers(fleet, session, live)
    )


def _line(progress: ServerProgress, kind: str, live: int) -> ServerLine:
    state, newest = progress.state, progress.newest
    serves_live = state is not None and state.release == live and not state.error
    handover_failed = newest is not None and (
        newest.status is HandoverStatus.FAILED or bool(newest.error)
    )
    if serves_live:
        status, error = "good", ""
    else:
        failing = handover_failed or bool(state and state.error)
        status = "failing" if failing else "waiting"
        error = (state.error if state else "") or (newest.error if newest else "")
    return ServerLine(
        name=progress.name,
        kind=kind,
        canary=progress.canary,
        status=status,
        release=state.release if state else None,
        version=state.version if state else "",
        wanted=live,
        handover=newest.release if newest else None,
        handover_status=newest.status.value if newest else "",
        attempts=newest.attempts if newest else 0,
        error=error,
        seen_at=state.seen_at if state else None,
    )


def server_text(line: ServerLine) -> str:
    """A server in one line: the release that it serves, the hand-over under way, the last error."""
    serves = f"release {line.release}" if line.release is not None else "an unknown release"
    handover = ""
    if line.handover_status in (HandoverStatus.WAITING, HandoverStatus.SENDING):
        handover = f", release {line.handover} is on its way (attempt {line.attempts})"
    elif line.handover_status == HandoverStatus.FAILED:
        handover = f", did not take release {line.handover}"
    name = f"{line.name} (canary)" if line.canary else line.name
    return f"{name:<16} serves {serves}{handover}{f': {line.error}' if line.error else ''}"
