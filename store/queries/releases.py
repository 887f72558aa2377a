"""Queries for candidates, releases, switches and the audit log.

Every status change is a compare-and-swap that checks its row count.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, select, update
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import require_one_row
from factd.store.errors import NotFound
from factd.store.model.releases import (
    CANDIDATE_MOVES,
    RELEASE_MOVES,
    Candidate,
    CandidateStatus,
    Flag,
    Release,
    ReleaseStatus,
    check_move,
)
from factd.store.schema.releases import AuditLogRow, CandidateRow, FlagRow, ReleaseRow

FROZEN, BASE_ASKED = "frozen", "base asked"


def create_candidate(
    session: Session, *, batch_id: str, fact_ids: Sequence[str], now: datetime
) -> Candidate:
    """Add a candidate with the status `planned`."""
    row = CandidateRow(
        batch_id=batch_id,
        fact_ids=list(fact_ids),
        fact_count=len(fact_ids),
        status=CandidateStatus.PLANNED,
        delta_id=None,
        report=None,
        reasons=[],
        created_at=now,
        changed_at=now,
    )
    session.add(row)
    session.flush()
    return _candidate(row)


def move_candidate(
    session: Session,
    id_: int,
    before: CandidateStatus,
    after: CandidateStatus,
    *,
    now: datetime,
    **values: Any,
) -> None:
    """Change the status of a candidate, and with it other columns (delta_id, report, reasons).

    Raises: IllegalMove: the table of legal moves does not have the change.
    StaleState: the status is no longer `before`.
    """
    check_move(CANDIDATE_MOVES, before, after)
    where = (CandidateRow.id == id_, CandidateRow.status == before)
    result = session.execute(
        update(CandidateRow).where(*where).values(status=after, changed_at=now, **values)
    )
    require_one_row(result, f"candidate {id_} is no longer {before}")


def candidate(session: Session, id_: int) -> Candidate:
    """One candidate by its id. Raises: NotFound: there is no such candidate."""
    row = session.get(CandidateRow, id_, populate_existing=True)
    if row is None:
        raise NotFound(f"no candidate {id_}; `factd status` shows the newest one")
    return _candidate(row)


def list_candidates(session: Session, *, limit: int = 20) -> list[Candidate]:
    """The candidates, newest first; at most `limit`."""
    return [
        _candidate(row)
        for row in session.scalars(
            select(CandidateRow).order_by(CandidateRow.id.desc()).limit(limit)
        )
    ]


def abandon_unfinished(session: Session, *, now: datetime) -> int:
    """Abandon all unfinished candidates after a crash; returns their number.

    The caller must be the only process that edits. The values of the candidates stay in the
    value cache.
    Raises: StaleState: another process moved one of them.
    """
    unfinished = (CandidateStatus.PLANNED, CandidateStatus.SOLVING, CandidateStatus.CHECKING)
    rows = session.scalars(select(CandidateRow).where(CandidateRow.status.in_(unfinished))).all()
    for row in rows:
        before = CandidateStatus(row.status)
        reasons = [f"abandoned while {before}"]
        move_candidate(session, row.id, before, CandidateStatus.ABANDONED, now=now, reasons=reasons)
    return len(rows)


def _candidate(row: CandidateRow) -> Candidate:
    return Candidate(
        id=row.id,
        batch_id=row.batch_id,
        fact_ids=tuple(row.fact_ids),
        status=CandidateStatus(row.status),
        delta_id=row.delta_id,
        report=row.report,
        reasons=tuple(row.reasons),
        created_at=row.created_at,
        narrowed=row.narrowed,
    )


def mark_narrowed(session: Session, id_: int) -> None:
    """Record that the facts that made a candidate fail have been searched for and set aside."""
    session.execute(update(CandidateRow).where(CandidateRow.id == id_).values(narrowed=True))


def create_release(
    session: Session,
    *,
    candidate_id: int | None,
    delta_id: str | None,
    fact_ids: Sequence[str],
    who: str,
    why: str,
    now: datetime,
    base: int = 0,
) -> Release:
    """Add a release with the status `accepted` and the next number.

    base: number of the base that it was computed on.
    """
    last = session.scalar(select(func.max(ReleaseRow.number)))
    row = ReleaseRow(
        number=(last if last is not None else -1) + 1,
        candidate_id=candidate_id,
        delta_id=delta_id,
        fact_ids=list(fact_ids),
        fact_count=len(fact_ids),
        status=ReleaseStatus.ACCEPTED,
        who=who,
        why=why,
        created_at=now,
        live_at=None,
        base=base,
    )
    session.add(row)
    session.flush()
    return _release(row)


def ensure_release_zero(session: Session, *, now: datetime) -> Release:
    """Release 0, the base model. If it is missing, it is added and made live."""
    if session.get(ReleaseRow, 0) is None:
        create_release(
            session,
            candidate_id=None,
            delta_id=None,
            fact_ids=(),
            who="factd",
            why="the base model",
            now=now,
        )
        session.execute(
            update(ReleaseRow)
            .where(ReleaseRow.number == 0)
            .values(status=ReleaseStatus.LIVE, live_at=now)
        )
    return release(session, 0)


def move_release(
    session: Session, number: int, before: ReleaseStatus, after: ReleaseStatus, *, now: datetime
) -> None:
    """Change the status of a release.

    Raises: IllegalMove: the table of legal moves does not have the change.
    StaleState: the status is no longer `before`.
    """
    check_move(RELEASE_MOVES, before, after)
    values: dict[str, Any] = {"status": after} | (
        {"live_at": now} if after is ReleaseStatus.LIVE else {}
    )
    where = (ReleaseRow.number == number, ReleaseRow.status == before)
    require_one_row(
        session.execute(update(ReleaseRow).where(*where).values(values)),
        f"release {number} is no longer {before}",
    )


def withdraw_older_accepted(session: Session, number: int, *, now: datetime) -> None:
    """Withdraw the accepted releases before a release that have never been live.

    They are not needed: the later release holds the facts that they held and that still hold.
    Raises: StaleState: another process moved one of them.
    """
    for old in releases_with_status(session, ReleaseStatus.ACCEPTED):
        if old.number < number and old.live_at is None:
            move = (ReleaseStatus.ACCEPTED, ReleaseStatus.WITHDRAWN)
            move_release(session, old.number, *move, now=now)


def make_live(session: Session, number: int, *, now: datetime) -> None:
    """Make a publishing release the live one.

    The live release before it is retired if the new one has a higher number, and withdrawn if
    it has a lower one (a rollback). Raises: StaleState: the release is not publishing, or
    another process moved one.
    """
    old = live_release(session)
    if old is not None and old.number != number:
        after = ReleaseStatus.RETIRED if number > old.number else ReleaseStatus.WITHDRAWN
        move_release(session, old.number, ReleaseStatus.LIVE, after, now=now)
    move_release(session, number, ReleaseStatus.PUBLISHING, ReleaseStatus.LIVE, now=now)


def release(session: Session, number: int) -> Release:
    """One release by its number. Raises: NotFound: there is no such release."""
    row = session.get(ReleaseRow, number, populate_existing=True)
    if row is None:
        raise NotFound(f"no release {number}; see `factd releases list`")
    return _release(row)


def live_release(session: Session) -> Release | None:
    """The live release; None if no release is live."""
    row = session.scalar(select(ReleaseRow).where(ReleaseRow.status == ReleaseStatus.LIVE))
    return _release(row) if row else None


def highest_live_number(session: Session) -> int:
    """The highest number of a release that has ever been live; -1 if there is none."""
    number = session.scalar(
        select(func.max(ReleaseRow.number)).where(ReleaseRow.live_at.is_not(None))
    )
    return number if number is not None else -1


def list_releases(session: Session, *, limit: int | None = None) -> list[Release]:
    """The releases, newest first; at most `limit`, None: all."""
    return [
        _release(row)
        for row in session.scalars(
            select(ReleaseRow).order_by(ReleaseRow.number.desc()).limit(limit)
        )
    ]


def releases_with_status(session: Session, *statuses: ReleaseStatus) -> list[Release]:
    """The releases in the given statuses, newest first; no limit."""
    query = select(ReleaseRow).where(ReleaseRow.status.in_(statuses))
    return [_release(row) for row in session.scalars(query.order_by(ReleaseRow.number.desc()))]


def releases_since(session: Session, since: datetime) -> list[Release]:
    """The releases that were made since a time, without release 0; in no order, no limit."""
    query = select(ReleaseRow).where(ReleaseRow.created_at >= since, ReleaseRow.number > 0)
    return [_release(row) for row in session.scalars(query)]


def candidates_of_releases(session: Session, numbers: Sequence[int]) -> list[int | None]:
    """The candidate ids of some releases, in no order; None for a release without one."""
    query = select(ReleaseRow.candidate_id).where(ReleaseRow.number.in_(numbers))
    return list(session.scalars(query))


def last_before(session: Session, before: datetime) -> Release | None:
    """The newest release that was made before a time and has been live; None if there is none."""
    query = select(ReleaseRow).where(
        ReleaseRow.created_at < before, ReleaseRow.live_at.is_not(None)
    )
    row = session.scalar(query.order_by(ReleaseRow.number.desc()).limit(1))
    return _release(row) if row else None


def count_candidates(session: Session, *, since: datetime) -> int:
    """The number of candidates that were made since a time."""
    query = select(func.count()).where(CandidateRow.created_at >= since)
    return session.scalar(query) or 0


def releases_with_fact(
    session: Session, fact_id: str, *, newest: int | None = None
) -> dict[int, ReleaseStatus]:
    """The releases whose delta holds a fact, with their statuses; by number, newest first.

    The database searches the long lists of fact ids, so they are not read into memory.
    newest: only this many of the newest releases are searched; None: all.
    """
    held = cast(ReleaseRow.fact_ids, Text).contains(f'"{fact_id}"')
    query = select(ReleaseRow.number, ReleaseRow.status).where(held)
    if newest is not None:
        last = session.scalar(select(func.max(ReleaseRow.number))) or 0
        query = query.where(ReleaseRow.number > last - newest)
    rows = session.execute(query.order_by(ReleaseRow.number.desc()))
    return {number: ReleaseStatus(status) for number, status in rows}


def _release(row: ReleaseRow) -> Release:
    return Release(
        number=row.number,
        candidate_id=row.candidate_id,
        delta_id=row.delta_id,
        fact_ids=tuple(row.fact_ids),
        status=ReleaseStatus(row.status),
        who=row.who,
        why=row.why,
        created_at=row.created_at,
        live_at=row.live_at,
        base=row.base,
    )


def freeze(session: Session, *, why: str, who: str, now: datetime) -> Flag:
    """Stop edits and publishing until `unfreeze`; a line is added to the audit log."""
    session.merge(FlagRow(name=FROZEN, why=why, who=who, since=now))
    log_action(session, who=who, what="freeze", why=why, now=now)
    return Flag(name=FROZEN, why=why, who=who, since=now)


def unfreeze(session: Session, *, who: str, now: datetime, why: str = "") -> bool:
    """Lift the freeze: edits and publishing start again. Returns False if factd was not frozen."""
    row = session.get(FlagRow, FROZEN)
    if row is None:
        return False
    session.delete(row)
    session.flush()
    log_action(session, who=who, what="unfreeze", why=why, now=now)
    return True


def frozen(session: Session) -> Flag | None:
    """The freeze, with who set it and why; None if factd is not frozen."""
    row = session.get(FlagRow, FROZEN, populate_existing=True)
    return Flag(name=row.name, why=row.why, who=row.who, since=row.since) if row else None


def queried_base(session: Session) -> str | None:
    """The fingerprint of the base model whose answers are stored with the facts; None at first."""
    row = session.get(FlagRow, BASE_ASKED, populate_existing=True)
    return row.why if row else None


def save_queried_base(session: Session, fingerprint: str, *, now: datetime) -> None:
    """Record that the stored answers come from the base model with this fingerprint."""
    session.merge(FlagRow(name=BASE_ASKED, why=fingerprint, who="factd", since=now))


def log_action(session: Session, *, who: str, what: str, why: str, now: datetime) -> None:
    """Add a line to the audit log."""
    session.add(AuditLogRow(at=now, who=who, what=what, why=why))


def audit_log(session: Session, *, limit: int = 50) -> list[Mapping[str, str]]:
    """The lines of the audit log, newest first; at most `limit`."""
    rows = session.scalars(select(AuditLogRow).order_by(AuditLogRow.id.desc()).limit(limit))
    return [{"at": r.at.isoformat(), "who": r.who, "what": r.what, "why": r.why} for r in rows]
