"""Notices and their way over the channels: an outbox, so that a crash loses none.

What stays so is one open notice, however often it is found again; there is at most one a key, which the database itself
ensures. An attempt is counted before it is made: one that dies with its process is made again, with the same id, and a
message that kills its sender is given up in the end.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import changed
from factd.store.model.operations import Dispatch, DispatchStatus, Notice
from factd.store.schema.operations import DispatchRow, NoticeRow

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 30, 3600  # after an attempt that failed; doubles
KEY_LENGTH = 200


def notify(
    session: Session, *, key: str, kind: str, text: str, data: Mapping[str, Any], now: datetime
) -> Notice:
    """A new notice; where one with this key is open, that one, counted up, with the newer words."""
    key, values = key[:KEY_LENGTH], {"text": text, "data": dict(data), "last_at": now}
    row = NoticeRow(key=key, kind=kind, first_at=now, count=1, over_at=None, **values)
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        where = (NoticeRow.key == key, NoticeRow.over_at.is_(None))
        session.execute(update(NoticeRow).where(*where).values(count=NoticeRow.count + 1, **values))
        query = select(NoticeRow).where(*where).execution_options(populate_existing=True)
        row = session.scalars(query).one()
    return _notice(row)


def over(session: Session, key: str, *, now: datetime) -> bool:
    """It does not hold any more: when it comes back, it is told again. False where none was open."""
    where = (NoticeRow.key == key[:KEY_LENGTH], NoticeRow.over_at.is_(None))
    return bool(changed(session.execute(update(NoticeRow).where(*where).values(over_at=now))))


def open_notices(session: Session) -> dict[str, Notice]:
    """What holds now, by key, in the order in which it was found."""
    query = select(NoticeRow).where(NoticeRow.over_at.is_(None))  # by the index of the open ones
    rows = sorted(session.scalars(query), key=lambda row: row.id)
    return {row.key: _notice(row) for row in rows}


def newest_notices(session: Session, *, limit: int) -> list[Notice]:
    """What holds and what did, the newest first."""
    query = select(NoticeRow).order_by(NoticeRow.id.desc()).limit(limit)
    return [_notice(row) for row in session.scalars(query)]


def untold(session: Session, channel: str, kinds: Sequence[str]) -> list[int]:
    """Open notices of some kinds that a channel was never given."""
    given = exists().where(DispatchRow.notice_id == NoticeRow.id, DispatchRow.channel == channel)
    where = (NoticeRow.over_at.is_(None), NoticeRow.kind.in_(kinds), ~given)
    return list(session.scalars(select(NoticeRow.id).where(*where).order_by(NoticeRow.id)))


def give(session: Session, channel: str, notices: Sequence[int]) -> None:
    """Let a channel tell some notices."""
    for id_ in notices:
        row = DispatchRow(
            notice_id=id_,
            channel=channel,
            status=DispatchStatus.WAITING,
            attempts=0,
            not_before=None,
            error="",
            sent_at=None,
            times=0,
        )
        session.add(row)
    session.flush()


def stale(session: Session, channel: str, *, before: datetime) -> list[int]:
    """Dispatches of open notices whose last attempt, good or bad, ended before a time."""
    query = select(DispatchRow.id).join(NoticeRow, NoticeRow.id == DispatchRow.notice_id)
    ended = or_(
        (DispatchRow.status == DispatchStatus.SENT) & (DispatchRow.sent_at < before),
        (DispatchRow.status == DispatchStatus.FAILED) & (DispatchRow.not_before < before),
    )
    where = (NoticeRow.over_at.is_(None), DispatchRow.channel == channel, ended)
    return list(session.scalars(query.where(*where).order_by(DispatchRow.id)))


def tell_again(session: Session, dispatches: Sequence[int]) -> None:
    """They wait again, as messages of their own."""
    where = (DispatchRow.id.in_(dispatches), DispatchRow.status != DispatchStatus.WAITING)
    values: dict[str, Any] = {"status": DispatchStatus.WAITING, "attempts": 0, "not_before": None}
    session.execute(update(DispatchRow).where(*where).values(times=DispatchRow.times + 1, **values))


def due(session: Session, channel: str, *, now: datetime, limit: int) -> list[Dispatch]:
    """What a channel is to send now, the oldest first."""
    timely = or_(DispatchRow.not_before.is_(None), DispatchRow.not_before <= now)
    where = (
        DispatchRow.status == DispatchStatus.WAITING,
        DispatchRow.channel == channel,
        timely,
    )
    return _dispatches(session, *where, limit=limit)


def dispatches_of(session: Session, notices: Sequence[int]) -> list[Dispatch]:
    """How some notices stand on their channels."""
    return _dispatches(session, DispatchRow.notice_id.in_(notices))


def start_attempt(session: Session, dispatch: Dispatch, *, now: datetime) -> bool:
    """Count an attempt before it is made, with the time of the next one; False where somebody else makes it."""
    where = (
        DispatchRow.id == dispatch.id,
        DispatchRow.status == DispatchStatus.WAITING,
        DispatchRow.attempts == dispatch.attempts,
    )
    wait = timedelta(seconds=wait_seconds(dispatch.attempts))
    values = {"attempts": dispatch.attempts + 1, "not_before": now + wait}
    return changed(session.execute(update(DispatchRow).where(*where).values(values))) == 1


def wait_seconds(attempts: int) -> float:
    """How long the next attempt waits after one before which there were so many."""
    return float(min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(attempts, 10)))


def sent(session: Session, id_: int, *, now: datetime) -> None:
    """It arrived."""
    values = {"status": DispatchStatus.SENT, "sent_at": now, "error": ""}
    session.execute(update(DispatchRow).where(DispatchRow.id == id_).values(values))


def failed(
    session: Session, id_: int, why: str, *, last: bool, not_before: datetime | None = None
) -> None:
    """It did not arrive. last: nor will it be tried again. not_before: the receiver's own wish."""
    values: dict[str, Any] = {"error": why[:500]}
    values |= {"status": DispatchStatus.FAILED} if last else {}
    values |= {"not_before": not_before} if not_before else {}
    where = (DispatchRow.id == id_, DispatchRow.status == DispatchStatus.WAITING)
    session.execute(update(DispatchRow).where(*where).values(values))


def _dispatches(session: Session, *where: Any, limit: int | None = None) -> list[Dispatch]:
    query = select(DispatchRow, NoticeRow).join(NoticeRow, NoticeRow.id == DispatchRow.notice_id)
    rows = session.execute(query.where(*where).order_by(DispatchRow.id).limit(limit))
    return [_dispatch(row, notice) for row, notice in rows]


def _dispatch(row: DispatchRow, notice: NoticeRow) -> Dispatch:
    return Dispatch(
        id=row.id,
        notice=_notice(notice),
        channel=row.channel,
        status=DispatchStatus(row.status),
        attempts=row.attempts,
        not_before=row.not_before,
        error=row.error,
        sent_at=row.sent_at,
        times=row.times,
    )


def _notice(row: NoticeRow) -> Notice:
    return Notice(
        id=row.id,
        key=row.key,
        kind=row.kind,
        text=row.text,
        data=row.data,
        first_at=row.first_at,
        last_at=row.last_at,
        count=row.count,
        over_at=row.over_at,
    )
