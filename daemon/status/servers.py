"""How servers stand towards the live release, a line each: for `factd servers list`, `factd status`, the console and its API."""

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
    """One server."""

    name: str
    kind: str
    canary: bool
    status: str  # good: it serves the live release; waiting: it is to get it; failing: it did not take it
    release: int | None  # that it serves; None: not known
    version: str  # the name of that version; empty: not known
    wanted: int | None  # the live release
    handover: int | None  # the release of its last hand-over
    handover_status: str
    attempts: int  # at that hand-over
    error: str
    seen_at: datetime | None

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        seen = self.seen_at.isoformat() if self.seen_at else None
        return {**vars(self), "seen_at": seen}


def server_lines(fleet: Fleet, session: Session) -> tuple[ServerLine, ...]:
    """Every configured server, by name."""
    if not fleet.table.tables():
        return ()  # nothing of what follows is even imported
    from factd.daemon.rollout import outbox

    live = queries.releases.live_release(session)
    found = outbox.progress_of_servers(fleet, session, live) if live else ()
    return tuple(
        _line(one, fleet.servers[one.name].settings.kind, live.number if live else None)
        for one in found
    )


def _line(one: ServerProgress, kind: str, live: int | None) -> ServerLine:
    state, newest = one.state, one.newest
    has = state is not None and state.release == live and not state.error
    bad = newest is not None and (newest.status is HandoverStatus.FAILED or bool(newest.error))
    status = "good" if has else "failing" if bad or (state and state.error) else "waiting"
    return ServerLine(
        name=one.name,
        kind=kind,
        canary=one.canary,
        status=status,
        release=state.release if state else None,
        version=state.version if state else "",
        wanted=live,
        handover=newest.release if newest else None,
        handover_status=newest.status.value if newest else "",
        attempts=newest.attempts if newest else 0,
        error=(state.error if state else "") or (newest.error if newest and not has else ""),
        seen_at=state.seen_at if state else None,
    )


def said(line: ServerLine) -> str:
    """A server for people."""
    serves = f"release {line.release}" if line.release is not None else "nobody knows what"
    way = ""
    if line.handover_status in (HandoverStatus.WAITING, HandoverStatus.SENDING):
        way = f", release {line.handover} is on its way (attempt {line.attempts})"
    elif line.handover_status == HandoverStatus.FAILED:
        way = f", did not take release {line.handover}"
    name = f"{line.name} (canary)" if line.canary else line.name
    return f"{name:<16} serves {serves}{way}{f': {line.error}' if line.error else ''}"
