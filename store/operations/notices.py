"""Notices and their dispatches over the channels: an outbox, so a crash loses no notice.

A condition that lasts is one open notice, however often it is found again. A unique index allows at
most one open notice for each key. An attempt to send is counted before it is made. If the sending
process dies, the attempt is made again with the same id, and a message that kills its sender is
given up in the end.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import exists, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import row_count
from factd.store.model.operations import Dispatch, DispatchStatus, Notice
from factd.store.schema.operations import DispatchRow, NoticeRow

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 30, 3600  # after a failed attempt; the wait doubles
KEY_LENGTH = 200  # characters; longer keys are cut


def notify(
    session: Session, *, key: str, kind: str, text: str, data: Mapping[str, Any], now: datetime
) -> Notice:
    """Open a notice; returns it.

    If a notice with this key is open, it is counted up and gets the newer text instead.
    """
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


def close(session: Session, key: str, *, now: datetime) -> bool:
    """Close the open notice with a key, because its condition has ended.

    If the condition comes back, that is a new notice. Returns False if no notice was open.
    """
    where = (NoticeRow.key == key[:KEY_LENGTH], NoticeRow.over_at.is_(None))
    return bool(row_count(session.execute(update(NoticeRow).where(*where).values(over_at=now))))


def open_notices(session: Session) -> dict[str, Notice]:
    """The open notices by key, oldest first; no limit."""
    query = select(NoticeRow).where(NoticeRow.over_at.is_(None))  # by the index of open notices
    rows = sorted(session.scalars(query), key=lambda row: row.id)
    return {row.key: _notice(row) for row in rows}


def newest_notices(session: Session, *, limit: int) -> list[Notice]:
    """The notices, open or closed, newest first; at most `limit`."""
    query = select(NoticeRow).order_by(NoticeRow.id.desc()).limit(limit)
    return [_notice(row) for row in session.scalars(query)]


def undispatched(session: Session, channel: str, kinds: Sequence[str]) -> list[int]:
    """The ids of open notices of some kinds without a dispatch on a channel; oldest first, all."""
    dispatched = exists().where(
        DispatchRow.notice_id == NoticeRow.id, DispatchRow.channel == channel
    )
    where = (NoticeRow.over_at.is_(None), NoticeRow.kind.in_(kinds), ~dispatched)
    return list(session.scalars(select(NoticeRow.id).where(*where).order_by(NoticeRow.id)))


def dispatch(session: Session, channel: str, notices: Sequence[int]) -> None:
    """Add a waiting dispatch on a channel for each of some notices."""
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


def stale_dispatches(session: Session, channel: str, *, before: datetime) -> list[int]:
    """The ids of a channel's dispatches that were sent or given up before a time; oldest first.

    Only dispatches of open notices are returned: their conditions still hold, so a reminder is due.
    """
    query = select(DispatchRow.id).join(NoticeRow, NoticeRow.id == DispatchRow.notice_id)
    ended = or_(
        (DispatchRow.status == DispatchStatus.SENT) & (DispatchRow.sent_at < before),
        (DispatchRow.status == DispatchStatus.FAILED) & (DispatchRow.not_before < before),
    )
    where = (NoticeRow.over_at.is_(None), DispatchRow.channel == channel, ended)
    return list(session.scalars(query.where(*where).order_by(DispatchRow.id)))


def requeue(session: Session, dispatches: Sequence[int]) -> None:
    """Let finished dispatches wait again, each as a new message."""
    where = (DispatchRow.id.in_(dispatches), DispatchRow.status != DispatchStatus.WAITING)
    values: dict[str, Any] = {"status": DispatchStatus.WAITING, "attempts": 0, "not_before": None}
    session.execute(update(DispatchRow).where(*where).values(times=DispatchRow.times + 1, **values))


def due(session: Session, channel: str, *, now: datetime, limit: int) -> list[Dispatch]:
    """The dispatches that a channel has to send now, oldest first; at most `limit`."""
    timely = or_(DispatchRow.not_before.is_(None), DispatchRow.not_before <= now)
    where = (
        DispatchRow.status == DispatchStatus.WAITING,
        DispatchRow.channel == channel,
        timely,
    )
    return _dispatches(session, *where, limit=limit)


def dispatches_of_notices(session: Session, notices: Sequence[int]) -> list[Dispatch]:
    """The dispatches of some notices on all channels, oldest first; no limit."""
    return _dispatches(session, DispatchRow.notice_id.in_(notices))


def start_attempt(session: Session, dispatch: Dispatch, *, now: datetime) -> bool:
    """Count an attempt before it is made, and set the time of the next one.

    Returns False if another process has already begun this attempt.
    """
    where = (
        DispatchRow.id == dispatch.id,
        DispatchRow.status == DispatchStatus.WAITING,
        DispatchRow.attempts == dispatch.attempts,
    )
    wait = timedelta(seconds=retry_wait_seconds(dispatch.attempts))
    values = {"attempts": dispatch.attempts + 1, "not_before": now + wait}
    return row_count(session.execute(update(DispatchRow).where(*where).values(values))) == 1


def retry_wait_seconds(attempts: int) -> float:
    """The wait after an attempt, in seconds. attempts: the number of attempts before it."""
    return float(min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(attempts, 10)))


def mark_sent(session: Session, id_: int, *, now: datetime) -> None:
    """Mark a dispatch as sent."""
    values = {"status": DispatchStatus.SENT, "sent_at": now, "error": ""}
    session.execute(update(DispatchRow).where(DispatchRow.id == id_).values(values))


def mark_failed(
    session: Session, id_: int, why: str, *, last: bool, not_before: datetime | None = None
) -> None:
    """Store the error of a failed attempt.

    last: no further attempt will be made. not_before: time of the next try that the receiver
    asked for.
    """
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
