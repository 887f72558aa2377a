"""The outbox of hand-overs and how servers stand. Every change of a status is compare-and-swap."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import changed, swapped
from factd.store.model.handovers import HANDOVER_MOVES, OPEN, Handover, HandoverStatus, ServerState
from factd.store.model.releases import check_move
from factd.store.schema.operations import HandoverRow, ServerRow

LONGEST_TEXT = 1000  # characters of an error that are kept
CUT_SHORT = "the process that handed it over ended"


def add(session: Session, server: str, release: int, *, why: str, now: datetime) -> Handover:
    """A new hand-over, behind what the server had. Its open one, if any, must have been superseded."""
    row = HandoverRow(
        server=server,
        release=release,
        status=HandoverStatus.WAITING,
        attempts=0,
        not_before=None,
        created_at=now,
        changed_at=now,
        why=why,
        error="",
        restored=None,
        detail={},
    )
    session.add(row)
    session.flush()
    return _handover(row)


def move(
    session: Session, seen: Handover, after: HandoverStatus, *, now: datetime, **values: Any
) -> None:
    """Change a status. Raises: IllegalMove; StaleState: somebody else was faster."""
    check_move(HANDOVER_MOVES, seen.status, after)
    where = (
        HandoverRow.id == seen.id,
        HandoverRow.status == seen.status,
        HandoverRow.attempts == seen.attempts,
    )
    if "error" in values:
        values["error"] = values["error"][:LONGEST_TEXT]
    query = update(HandoverRow).where(*where).values(status=after, changed_at=now, **values)
    swapped(session.execute(query), f"hand-over {seen.id} is no longer {seen.status}")


def start(session: Session, seen: Handover, *, now: datetime) -> Handover:
    """An attempt, counted before it is made. Raises: StaleState."""
    move(session, seen, HandoverStatus.SENDING, now=now, attempts=seen.attempts + 1)
    return handover(session, seen.id)


def put_back(session: Session, *, now: datetime) -> int:
    """Hand-overs that a process left half done wait again; for whoever holds the servers' lease. How many there were."""
    values = {"status": HandoverStatus.WAITING, "changed_at": now, "error": CUT_SHORT}
    where = HandoverRow.status == HandoverStatus.SENDING
    done = session.execute(update(HandoverRow).where(where).values(values))
    return changed(done)


def handover(session: Session, id_: int) -> Handover:
    """One hand-over."""
    return _handover(session.get_one(HandoverRow, id_, populate_existing=True))


def newest(session: Session, server: str) -> Handover | None:
    """The last hand-over to a server, open or not; None: it never had one."""
    query = select(HandoverRow).where(HandoverRow.server == server)
    row = session.scalar(query.order_by(HandoverRow.id.desc()).limit(1))
    return _handover(row) if row else None


def newest_of(session: Session, server: str, release: int) -> Handover | None:
    """The last hand-over of a release to a server that was not superseded."""
    where = (
        HandoverRow.server == server,
        HandoverRow.release == release,
        HandoverRow.status != HandoverStatus.SUPERSEDED,
    )
    row = session.scalar(select(HandoverRow).where(*where).order_by(HandoverRow.id.desc()).limit(1))
    return _handover(row) if row else None


def last_done(session: Session, server: str, *, but: int | None = None) -> Handover | None:
    """The last hand-over to a server that ended well; but: not of this release."""
    where = [HandoverRow.server == server, HandoverRow.status == HandoverStatus.DONE]
    where += [HandoverRow.release != but] if but is not None else []
    query = select(HandoverRow).where(*where).order_by(HandoverRow.id.desc()).limit(1)
    row = session.scalar(query)
    return _handover(row) if row else None


def first_done(session: Session, release: int) -> dict[str, datetime]:
    """When each server first had a release."""
    query = select(HandoverRow.server, func.min(HandoverRow.changed_at)).where(
        HandoverRow.release == release, HandoverRow.status == HandoverStatus.DONE
    )
    rows = session.execute(query.group_by(HandoverRow.server))
    return {row[0]: row[1] for row in rows}


def due(session: Session, *, now: datetime) -> list[Handover]:
    """What is to be handed over now, at most one a server."""
    where = HandoverRow.status == HandoverStatus.WAITING
    rows = session.scalars(select(HandoverRow).where(where).order_by(HandoverRow.id))
    return [_handover(row) for row in rows if row.not_before is None or row.not_before <= now]


def open_handovers(session: Session) -> list[Handover]:
    """What waits or is on its way."""
    query = select(HandoverRow).where(HandoverRow.status.in_(OPEN)).order_by(HandoverRow.id)
    return [_handover(row) for row in session.scalars(query)]


def handovers(session: Session, *, limit: int, server: str = "") -> list[Handover]:
    """The newest first."""
    query = select(HandoverRow).order_by(HandoverRow.id.desc()).limit(limit)
    query = query.where(HandoverRow.server == server) if server else query
    return [_handover(row) for row in session.scalars(query)]


def counts(session: Session) -> Mapping[tuple[str, str], int]:
    """Hand-overs by server and status."""
    query = select(HandoverRow.server, HandoverRow.status, func.count())
    rows = session.execute(query.group_by(HandoverRow.server, HandoverRow.status))
    return {(server, status): count for server, status, count in rows}


def forget(session: Session, before: datetime, *, servers: Collection[str]) -> int:
    """Delete closed hand-overs that ended before a time, but of each server what it has now; how many were deleted."""
    kept = [h.id for name in servers if (h := last_done(session, name))]
    kept += [h.id for name in servers if (h := newest(session, name))]
    where = (
        HandoverRow.status.not_in(OPEN),
        HandoverRow.changed_at < before,
        HandoverRow.id.not_in(kept),
    )
    found = session.execute(delete(HandoverRow).where(*where))
    return changed(found)


def keep_only(session: Session, servers: Collection[str]) -> int:
    """Forget the state of servers that are configured no more, so that nothing is kept for them; how many there were."""
    found = session.execute(delete(ServerRow).where(ServerRow.name.not_in(servers)))
    where = (HandoverRow.status == HandoverStatus.WAITING, HandoverRow.server.not_in(servers))
    session.execute(update(HandoverRow).where(*where).values(status=HandoverStatus.SUPERSEDED))
    return changed(found)


def states(session: Session) -> dict[str, ServerState]:
    """How servers stood when they were last seen, by name."""
    return {row.name: _state(row) for row in session.scalars(select(ServerRow))}


def save_state(session: Session, state: ServerState) -> None:
    """Keep how a server stands."""
    values = {
        "release": state.release,
        "version": state.version,
        "loaded": list(state.loaded),
        "seen_at": state.seen_at,
        "error": state.error[:LONGEST_TEXT],
    }
    row = session.get(ServerRow, state.name)
    if row is None:
        session.add(ServerRow(name=state.name, **values))
    else:
        for key, value in values.items():
            setattr(row, key, value)
    session.flush()


def _handover(row: HandoverRow) -> Handover:
    return Handover(
        id=row.id,
        server=row.server,
        release=row.release,
        status=HandoverStatus(row.status),
        attempts=row.attempts,
        not_before=row.not_before,
        created_at=row.created_at,
        changed_at=row.changed_at,
        why=row.why,
        error=row.error,
        restored=row.restored,
        detail=row.detail,
    )


def _state(row: ServerRow) -> ServerState:
    return ServerState(
        name=row.name,
        release=row.release,
        version=row.version,
        loaded=tuple(row.loaded),
        seen_at=row.seen_at,
        error=row.error,
    )
