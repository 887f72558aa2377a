"""Candidates, releases and switches in the database. Every status change is a compare-and-swap with its row count."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Text, cast, func, select, update
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import swapped
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
from factd.store.schema.releases import AuditRow, CandidateRow, FlagRow, ReleaseRow

FROZEN, BASE_ASKED = "frozen", "base asked"


def create_candidate(
    session: Session, *, batch_id: str, fact_ids: Sequence[str], now: datetime
) -> Candidate:
    """A planned candidate."""
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
    """Change a candidate's status, and what was found meanwhile (delta_id, report, reasons).

    Raises: IllegalMove; StaleState: it is not in `before` any more.
    """
    check_move(CANDIDATE_MOVES, before, after)
    where = (CandidateRow.id == id_, CandidateRow.status == before)
    done = session.execute(
        update(CandidateRow).where(*where).values(status=after, changed_at=now, **values)
    )
    swapped(done, f"candidate {id_} is no longer {before}")


def candidate(session: Session, id_: int) -> Candidate:
    """One candidate. Raises: NotFound."""
    row = session.get(CandidateRow, id_, populate_existing=True)
    if row is None:
        raise NotFound(f"no candidate {id_}")
    return _candidate(row)


def list_candidates(session: Session, *, limit: int = 20) -> list[Candidate]:
    """The newest candidates first."""
    return [
        _candidate(row)
        for row in session.scalars(
            select(CandidateRow).order_by(CandidateRow.id.desc()).limit(limit)
        )
    ]


def abandon_unfinished(session: Session, *, now: datetime) -> int:
    """After a crash: candidates that nobody works on any more are abandoned; their values stay in the cache."""
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


def note_narrowed(session: Session, id_: int) -> None:
    """The facts that made a candidate fail were looked for, and set aside where they were found."""
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
    """An accepted release with the next number. base: that it was computed on."""
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


def ensure_base(session: Session, *, now: datetime) -> Release:
    """Release 0, the base model, made and live where there is none."""
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
    """Change a release's status. Raises: IllegalMove; StaleState: it is not in `before` any more."""
    check_move(RELEASE_MOVES, before, after)
    values: dict[str, Any] = {"status": after} | (
        {"live_at": now} if after is ReleaseStatus.LIVE else {}
    )
    where = (ReleaseRow.number == number, ReleaseRow.status == before)
    swapped(
        session.execute(update(ReleaseRow).where(*where).values(values)),
        f"release {number} is no longer {before}",
    )


def withdraw_overtaken(session: Session, number: int, *, now: datetime) -> None:
    """Accepted releases that never were live are withdrawn when a later one is accepted: it holds what they held, or less."""
    for old in releases_in(session, ReleaseStatus.ACCEPTED):
        if old.number < number and old.live_at is None:
            back = (ReleaseStatus.ACCEPTED, ReleaseStatus.WITHDRAWN)
            move_release(session, old.number, *back, now=now)


def make_live(session: Session, number: int, *, now: datetime) -> None:
    """A publishing release becomes the live one; the one that was is retired, or withdrawn where an earlier one replaces it."""
    old = live_release(session)
    if old is not None and old.number != number:
        after = ReleaseStatus.RETIRED if number > old.number else ReleaseStatus.WITHDRAWN
        move_release(session, old.number, ReleaseStatus.LIVE, after, now=now)
    move_release(session, number, ReleaseStatus.PUBLISHING, ReleaseStatus.LIVE, now=now)


def release(session: Session, number: int) -> Release:
    """One release. Raises: NotFound."""
    row = session.get(ReleaseRow, number, populate_existing=True)
    if row is None:
        raise NotFound(f"no release {number}; see `factd releases list`")
    return _release(row)


def live_release(session: Session) -> Release | None:
    """The release that serves now."""
    row = session.scalar(select(ReleaseRow).where(ReleaseRow.status == ReleaseStatus.LIVE))
    return _release(row) if row else None


def newest_live(session: Session) -> int:
    """The highest number of a release that ever was live; -1 where none was."""
    found = session.scalar(
        select(func.max(ReleaseRow.number)).where(ReleaseRow.live_at.is_not(None))
    )
    return found if found is not None else -1


def list_releases(session: Session, *, limit: int | None = None) -> list[Release]:
    """The newest first."""
    return [
        _release(row)
        for row in session.scalars(
            select(ReleaseRow).order_by(ReleaseRow.number.desc()).limit(limit)
        )
    ]


def releases_in(session: Session, *statuses: ReleaseStatus) -> list[Release]:
    """Those in some statuses, the newest first."""
    query = select(ReleaseRow).where(ReleaseRow.status.in_(statuses))
    return [_release(row) for row in session.scalars(query.order_by(ReleaseRow.number.desc()))]


def releases_since(session: Session, since: datetime) -> list[Release]:
    """Those that were made since a time."""
    query = select(ReleaseRow).where(ReleaseRow.created_at >= since, ReleaseRow.number > 0)
    return [_release(row) for row in session.scalars(query)]


def candidates_of(session: Session, numbers: Sequence[int]) -> list[int | None]:
    """The candidates of some releases."""
    query = select(ReleaseRow.candidate_id).where(ReleaseRow.number.in_(numbers))
    return list(session.scalars(query))


def last_before(session: Session, before: datetime) -> Release | None:
    """The newest that was made before a time and has been live."""
    query = select(ReleaseRow).where(
        ReleaseRow.created_at < before, ReleaseRow.live_at.is_not(None)
    )
    row = session.scalar(query.order_by(ReleaseRow.number.desc()).limit(1))
    return _release(row) if row else None


def count_candidates(session: Session, *, since: datetime) -> int:
    """How many were made since a time."""
    query = select(func.count()).where(CandidateRow.created_at >= since)
    return session.scalar(query) or 0


def carrying(
    session: Session, fact_id: str, *, newest: int | None = None
) -> dict[int, ReleaseStatus]:
    """The releases that hold a fact, the newest first; found in the database, without reading their long lists.

    newest: only so many of the last releases are looked at.
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
    """Stop writing and publishing until `unfreeze`."""
    session.merge(FlagRow(name=FROZEN, why=why, who=who, since=now))
    record(session, who=who, what="freeze", why=why, now=now)
    return Flag(name=FROZEN, why=why, who=who, since=now)


def unfreeze(session: Session, *, who: str, now: datetime, why: str = "") -> bool:
    """Go on; False where nothing was frozen."""
    row = session.get(FlagRow, FROZEN)
    if row is None:
        return False
    session.delete(row)
    session.flush()
    record(session, who=who, what="unfreeze", why=why, now=now)
    return True


def frozen(session: Session) -> Flag | None:
    """Why nothing is written or published now, if so."""
    row = session.get(FlagRow, FROZEN, populate_existing=True)
    return Flag(name=row.name, why=row.why, who=row.who, since=row.since) if row else None


def base_asked(session: Session) -> str | None:
    """The fingerprint of the base model whose answers the facts keep."""
    row = session.get(FlagRow, BASE_ASKED, populate_existing=True)
    return row.why if row else None


def note_base_asked(session: Session, fingerprint: str, *, now: datetime) -> None:
    """From now on the answers are this model's."""
    session.merge(FlagRow(name=BASE_ASKED, why=fingerprint, who="factd", since=now))


def record(session: Session, *, who: str, what: str, why: str, now: datetime) -> None:
    """A line of the audit log."""
    session.add(AuditRow(at=now, who=who, what=what, why=why))


def audit_log(session: Session, *, limit: int = 50) -> list[Mapping[str, str]]:
    """What was done, the newest first."""
    rows = session.scalars(select(AuditRow).order_by(AuditRow.id.desc()).limit(limit))
    return [{"at": r.at.isoformat(), "who": r.who, "what": r.what, "why": r.why} for r in rows]
