"""Probe sets, beliefs, quarantine and audits in the database."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, null, select, update
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.database.compare_and_swap import changed
from factd.store.model.evidence import Audit, AuditOutcome, Belief, ProbeSet, SetAside
from factd.store.queries.facts import CHUNK
from factd.store.schema.releases import (
    AuditedRow,
    BeliefRow,
    CandidateRow,
    ProbeSetRow,
    QuarantineRow,
)


def add_probe_set(
    session: Session,
    *,
    digest: str,
    basis: str,
    counts: Mapping[str, int],
    why: str,
    now: datetime,
) -> ProbeSet:
    """A new version, the highest."""
    row = ProbeSetRow(digest=digest, basis=basis, counts=dict(counts), why=why, made_at=now)
    session.add(row)
    session.flush()
    return _probe_set(row)


def probe_sets(session: Session, *, limit: int | None = None) -> list[ProbeSet]:
    """The newest version first."""
    query = select(ProbeSetRow).order_by(ProbeSetRow.version.desc()).limit(limit)
    return [_probe_set(row) for row in session.scalars(query)]


def _probe_set(row: ProbeSetRow) -> ProbeSet:
    return ProbeSet(
        version=row.version,
        digest=row.digest,
        basis=row.basis,
        counts=row.counts,
        why=row.why,
        made_at=row.made_at,
    )


def note_beliefs(session: Session, found: Iterable[Belief], base: str, *, now: datetime) -> None:
    """Keep what a base model believes; what an earlier one believed about the same facts is replaced."""
    for b in found:
        row = BeliefRow(
            fact_id=b.fact_id,
            language=b.language,
            base=base,
            answer=b.answer,
            certainty=b.certainty,
            agreement=b.agreement,
            asked=b.asked,
            others=dict(b.others),
            at=now,
        )
        session.merge(row)


def beliefs(session: Session, ids: Iterable[str]) -> dict[str, list[Belief]]:
    """What the base model believed about some facts, by fact id, languages sorted."""
    found: dict[str, list[Belief]] = {}
    for part in chunks(sorted(set(ids)), CHUNK):
        query = select(BeliefRow).where(BeliefRow.fact_id.in_(part)).order_by(BeliefRow.language)
        for row in session.scalars(query):
            found.setdefault(row.fact_id, []).append(_belief(row))
    return found


def _belief(row: BeliefRow) -> Belief:
    return Belief(
        fact_id=row.fact_id,
        language=row.language,
        answer=row.answer,
        certainty=row.certainty,
        agreement=row.agreement,
        asked=row.asked,
        others=row.others,
    )


def set_aside(session: Session, found: SetAside) -> None:
    """Keep why a fact was set aside."""
    row = QuarantineRow(
        fact_id=found.fact_id,
        candidate_id=found.candidate_id,
        reason=found.reason,
        evidence=dict(found.evidence),
        at=found.at,
    )
    session.add(row)


def quarantine(
    session: Session, *, fact_id: str | None = None, limit: int | None = None
) -> list[SetAside]:
    """What was set aside, the newest first; of one fact, or of all."""
    query = select(QuarantineRow).order_by(QuarantineRow.id.desc()).limit(limit)
    if fact_id:
        query = query.where(QuarantineRow.fact_id == fact_id)
    return [
        SetAside(
            fact_id=row.fact_id,
            candidate_id=row.candidate_id,
            reason=row.reason,
            evidence=row.evidence,
            at=row.at,
        )
        for row in session.scalars(query)
    ]


def count_set_aside(session: Session) -> int:
    """How many times a fact was set aside."""
    return session.scalar(select(func.count()).select_from(QuarantineRow)) or 0


def count_audits(session: Session) -> dict[str, int]:
    """The number of audits by outcome."""
    query = select(AuditedRow.outcome, func.count()).group_by(AuditedRow.outcome)
    return {outcome: count for outcome, count in session.execute(query)}  # noqa: C416 - rows, no dict


def add_audit(session: Session, audit: Audit) -> None:
    """Keep an audit."""
    row = AuditedRow(
        release=audit.release,
        outcome=audit.outcome,
        action=audit.action,
        reasons=list(audit.reasons),
        report=dict(audit.report),
        at=audit.at,
    )
    session.add(row)


def forget_reports(session: Session, before: datetime, keep: Iterable[int]) -> int:
    """Forget what was measured of candidates and in audits before a time; what was decided, and why, stays. How many.

    keep: candidates whose measurements stay.
    """
    old = (CandidateRow.created_at < before, CandidateRow.id.not_in(list(keep)))
    there = CandidateRow.report.is_not(null())
    done = session.execute(update(CandidateRow).where(*old, there).values(report=null()))
    newest = select(func.max(AuditedRow.id)).scalar_subquery()
    past = (AuditedRow.at < before, AuditedRow.id != newest)
    session.execute(update(AuditedRow).where(*past).values(report={"lost": []}))
    return changed(done)


def audits(session: Session, *, limit: int = 20) -> Sequence[Audit]:
    """The newest first."""
    query = select(AuditedRow).order_by(AuditedRow.id.desc()).limit(limit)
    return [
        Audit(
            release=row.release,
            outcome=AuditOutcome(row.outcome),
            action=row.action,
            reasons=row.reasons,
            report=row.report,
            at=row.at,
        )
        for row in session.scalars(query)
    ]
