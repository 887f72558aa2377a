"""Lists of candidates, releases and lines of the audit log, for the console.

They read no fact ids and no reports, which may be long.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from factd.store.errors import NotFound
from factd.store.model.operations import AuditLogEntry
from factd.store.model.releases import CandidateStatus, ReleaseStatus
from factd.store.schema.releases import AuditLogRow, CandidateRow, ReleaseRow


@dataclass(frozen=True, kw_only=True)
class ReleaseLine:
    """A release without its fact ids."""

    number: int
    status: ReleaseStatus
    candidate: int | None
    facts: int
    who: str
    why: str
    created_at: datetime
    live_at: datetime | None
    base: int = 0  # the base that it was computed on


@dataclass(frozen=True, kw_only=True)
class CandidateLine:
    """A candidate without its fact ids and its report."""

    id: int
    batch_id: str
    status: CandidateStatus
    facts: int
    reasons: tuple[str, ...]
    created_at: datetime
    changed_at: datetime


RELEASES = select(
    ReleaseRow.number,
    ReleaseRow.status,
    ReleaseRow.candidate_id,
    ReleaseRow.fact_count,
    ReleaseRow.who,
    ReleaseRow.why,
    ReleaseRow.created_at,
    ReleaseRow.live_at,
    ReleaseRow.base,
)
CANDIDATES = select(
    CandidateRow.id,
    CandidateRow.batch_id,
    CandidateRow.status,
    CandidateRow.fact_count,
    CandidateRow.reasons,
    CandidateRow.created_at,
    CandidateRow.changed_at,
)


def releases(
    session: Session,
    *,
    limit: int,
    before: int | None = None,
    status: ReleaseStatus | None = None,
) -> list[ReleaseLine]:
    """The releases, newest first; at most `limit`.

    before: only releases with a lower number. status: only releases with this status.
    """
    where: list[Any] = [ReleaseRow.number < before] if before is not None else []
    where += [ReleaseRow.status == status] if status else []
    query = RELEASES.where(*where).order_by(ReleaseRow.number.desc()).limit(limit)
    return [_release(row) for row in session.execute(query)]


def live(session: Session) -> ReleaseLine | None:
    """The live release; None if no release is live."""
    return next(iter(releases(session, limit=1, status=ReleaseStatus.LIVE)), None)


def release(session: Session, number: int) -> ReleaseLine:
    """One release by its number. Raises: NotFound: there is no such release."""
    row = session.execute(RELEASES.where(ReleaseRow.number == number)).first()
    if row is None:
        raise NotFound(f"no release {number}; see `factd releases list`")
    return _release(row)


def release_of(session: Session, candidate: int) -> ReleaseLine | None:
    """The newest release that was made from a candidate; None if there is none."""
    query = RELEASES.where(ReleaseRow.candidate_id == candidate)
    row = session.execute(query.order_by(ReleaseRow.number.desc()).limit(1)).first()
    return _release(row) if row else None


def _release(row: Any) -> ReleaseLine:
    return ReleaseLine(
        number=row.number,
        status=ReleaseStatus(row.status),
        candidate=row.candidate_id,
        facts=row.fact_count,
        who=row.who,
        why=row.why,
        created_at=row.created_at,
        live_at=row.live_at,
        base=row.base,
    )


def candidates(session: Session, *, limit: int, before: int | None = None) -> list[CandidateLine]:
    """The candidates, newest first; at most `limit`. before: only candidates with a lower id."""
    where: list[Any] = [CandidateRow.id < before] if before is not None else []
    query = CANDIDATES.where(*where).order_by(CandidateRow.id.desc()).limit(limit)
    return [_candidate(row) for row in session.execute(query)]


def candidate(session: Session, id_: int) -> CandidateLine:
    """One candidate by its id. Raises: NotFound: there is no such candidate."""
    row = session.execute(CANDIDATES.where(CandidateRow.id == id_)).first()
    if row is None:
        raise NotFound(f"no candidate {id_}; `factd status` shows the newest one")
    return _candidate(row)


def _candidate(row: Any) -> CandidateLine:
    return CandidateLine(
        id=row.id,
        batch_id=row.batch_id,
        status=CandidateStatus(row.status),
        facts=row.fact_count,
        reasons=tuple(row.reasons),
        created_at=row.created_at,
        changed_at=row.changed_at,
    )


def audit_lines(
    session: Session, *, limit: int, before: int | None = None
) -> Sequence[AuditLogEntry]:
    """The lines of the audit log, newest first; at most `limit`.

    before: only lines with a lower id.
    """
    query = select(AuditLogRow).order_by(AuditLogRow.id.desc()).limit(limit)
    rows = session.scalars(query.where(AuditLogRow.id < before) if before is not None else query)
    return [AuditLogEntry(id=r.id, at=r.at, who=r.who, what=r.what, why=r.why) for r in rows]
