"""The outbox of hand-overs and the states of servers. Status changes are compare-and-swap."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import require_one_row, row_count
from factd.store.model.handovers import HANDOVER_MOVES, OPEN, Handover, HandoverStatus, ServerState
from factd.store.model.releases import check_move
from factd.store.schema.operations import HandoverRow, ServerRow

LONGEST_TEXT = 1000  # longest error text that is stored, in characters
INTERRUPTED = "the process that handed it over ended"


def add(session: Session, server: str, release: int, *, why: str, now: datetime) -> Handover:
    """Add a hand-over of a release to a server.

    The server's open hand-over, if any, must have been superseded before: a unique index allows
    one.
    """
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
    """Change the status of a hand-over, and with it other columns.

    Raises: IllegalMove: the table of legal moves does not have the change.
    StaleState: another process changed the hand-over first.
    """
    check_move(HANDOVER_MOVES, seen.status, after)
    where = (
        HandoverRow.id == seen.id,
        HandoverRow.status == seen.status,
        HandoverRow.attempts == seen.attempts,
    )
    if "error" in values:
        values["error"] = values["error"][:LONGEST_TEXT]
    query = update(HandoverRow).where(*where).values(status=after, changed_at=now, **values)
    require_one_row(session.execute(query), f"hand-over {seen.id} is no longer {seen.status}")


def start_attempt(session: Session, seen: Handover, *, now: datetime) -> Handover:
    """Count an attempt before it is made; returns the hand-over, now `sending`.

    Raises: IllegalMove, StaleState: as `move`.
    """
    move(session, seen, HandoverStatus.SENDING, now=now, attempts=seen.attempts + 1)
    return get(session, seen.id)


def requeue_interrupted(session: Session, *, now: datetime) -> int:
    """Let hand-overs that a dead process left `sending` wait again; returns their number.

    The caller must hold the "servers" lease.
    """
    values = {"status": HandoverStatus.WAITING, "changed_at": now, "error": INTERRUPTED}
    where = HandoverRow.status == HandoverStatus.SENDING
    result = session.execute(update(HandoverRow).where(where).values(values))
    return row_count(result)


def get(session: Session, id_: int) -> Handover:
    """One hand-over by its id, which must exist."""
    return _handover(session.get_one(HandoverRow, id_, populate_existing=True))


def newest(session: Session, server: str) -> Handover | None:
    """The newest hand-over to a server, open or not; None if there was none."""
    query = select(HandoverRow).where(HandoverRow.server == server)
    row = session.scalar(query.order_by(HandoverRow.id.desc()).limit(1))
    return _handover(row) if row else None


def newest_of_release(session: Session, server: str, release: int) -> Handover | None:
    """The newest hand-over of a release to a server; None if there is none.

    Superseded hand-overs are left out.
    """
    where = (
        HandoverRow.server == server,
        HandoverRow.release == release,
        HandoverRow.status != HandoverStatus.SUPERSEDED,
    )
    row = session.scalar(select(HandoverRow).where(*where).order_by(HandoverRow.id.desc()).limit(1))
    return _handover(row) if row else None


def last_done(session: Session, server: str, *, but: int | None = None) -> Handover | None:
    """The newest successful hand-over to a server; None if there is none.

    but: hand-overs of this release are left out.
    """
    where = [HandoverRow.server == server, HandoverRow.status == HandoverStatus.DONE]
    where += [HandoverRow.release != but] if but is not None else []
    query = select(HandoverRow).where(*where).order_by(HandoverRow.id.desc()).limit(1)
    row = session.scalar(query)
    return _handover(row) if row else None


def first_done_at(session: Session, release: int) -> dict[str, datetime]:
    """When each server first had a release, by server name."""
    query = select(HandoverRow.server, func.min(HandoverRow.changed_at)).where(
        HandoverRow.release == release, HandoverRow.status == HandoverStatus.DONE
    )
    rows = session.execute(query.group_by(HandoverRow.server))
    return {row[0]: row[1] for row in rows}


def due(session: Session, *, now: datetime) -> list[Handover]:
    """The waiting hand-overs whose time has come, oldest first; at most one for each server."""
    where = HandoverRow.status == HandoverStatus.WAITING
    rows = session.scalars(select(HandoverRow).where(where).order_by(HandoverRow.id))
    return [_handover(row) for row in rows if row.not_before is None or row.not_before <= now]


def list_open(session: Session) -> list[Handover]:
    """The hand-overs that wait or are being sent, oldest first; at most one for each server."""
    query = select(HandoverRow).where(HandoverRow.status.in_(OPEN)).order_by(HandoverRow.id)
    return [_handover(row) for row in session.scalars(query)]


def list_handovers(session: Session, *, limit: int, server: str = "") -> list[Handover]:
    """The hand-overs to one server or to all, newest first; at most `limit`."""
    query = select(HandoverRow).order_by(HandoverRow.id.desc()).limit(limit)
    query = query.where(HandoverRow.server == server) if server else query
    return [_handover(row) for row in session.scalars(query)]


def counts(session: Session) -> Mapping[tuple[str, str], int]:
    """The number of hand-overs by (server, status); pairs without hand-overs are missing."""
    query = select(HandoverRow.server, HandoverRow.status, func.count())
    rows = session.execute(query.group_by(HandoverRow.server, HandoverRow.status))
    return {(server, status): count for server, status, count in rows}


def delete_closed(session: Session, before: datetime, *, servers: Collection[str]) -> int:
    """Delete closed hand-overs that ended before a time; returns their number.

    The newest hand-over to each configured server and its newest successful one stay.
    """
    kept = [h.id for name in servers if (h := last_done(session, name))]
    kept += [h.id for name in servers if (h := newest(session, name))]
    where = (
        HandoverRow.status.not_in(OPEN),
        HandoverRow.changed_at < before,
        HandoverRow.id.not_in(kept),
    )
    return row_count(session.execute(delete(HandoverRow).where(*where)))


def forget_other_servers(session: Session, servers: Collection[str]) -> int:
    """Delete the states of servers that are no longer configured; returns their number.

    Waiting hand-overs to them are superseded, so that no release is kept for them.
    servers: the names of the configured servers.
    """
    deleted = session.execute(delete(ServerRow).where(ServerRow.name.not_in(servers)))
    where = (HandoverRow.status == HandoverStatus.WAITING, HandoverRow.server.not_in(servers))
    session.execute(update(HandoverRow).where(*where).values(status=HandoverStatus.SUPERSEDED))
    return row_count(deleted)


def server_states(session: Session) -> dict[str, ServerState]:
    """The states of all servers when they were last checked, by name."""
    return {row.name: _state(row) for row in session.scalars(select(ServerRow))}


def save_server_state(session: Session, state: ServerState) -> None:
    """Store the state of a server."""
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
