"""Queries for what was measured: probe sets, beliefs, facts in quarantine, audits."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import func, null, select, update
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.database.compare_and_swap import row_count
from factd.store.model.evidence import Audit, AuditOutcome, Belief, ProbeSet, QuarantinedFact
from factd.store.queries.facts import CHUNK
from factd.store.schema.releases import (
    BeliefRow,
    CandidateRow,
    ProbeSetRow,
    QuarantineRow,
    ReleaseAuditRow,
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
    """Add a probe set under the next version number."""
    row = ProbeSetRow(digest=digest, basis=basis, counts=dict(counts), why=why, made_at=now)
    session.add(row)
    session.flush()
    return _probe_set(row)


def probe_sets(session: Session, *, limit: int | None = None) -> list[ProbeSet]:
    """The probe sets, newest version first; at most `limit`, None: all."""
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


def save_beliefs(session: Session, beliefs: Iterable[Belief], base: str, *, now: datetime) -> None:
    """Store the beliefs of a base model, in place of earlier beliefs about the same facts.

    base: fingerprint of the base model.
    """
    for belief in beliefs:
        row = BeliefRow(
            fact_id=belief.fact_id,
            language=belief.language,
            base=base,
            answer=belief.answer,
            certainty=belief.certainty,
            agreement=belief.agreement,
            asked=belief.asked,
            others=dict(belief.others),
            at=now,
        )
        session.merge(row)


def beliefs(session: Session, ids: Iterable[str]) -> dict[str, list[Belief]]:
    """The base model's beliefs about some facts, by fact id; the beliefs of a fact by language.

    Facts without a belief are missing. No limit.
    """
    by_id: dict[str, list[Belief]] = {}
    for part in chunks(sorted(set(ids)), CHUNK):
        query = select(BeliefRow).where(BeliefRow.fact_id.in_(part)).order_by(BeliefRow.language)
        for row in session.scalars(query):
            by_id.setdefault(row.fact_id, []).append(_belief(row))
    return by_id


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


def add_to_quarantine(session: Session, quarantined: QuarantinedFact) -> None:
    """Store a fact that was set aside, with the reason and the evidence."""
    row = QuarantineRow(
        fact_id=quarantined.fact_id,
        candidate_id=quarantined.candidate_id,
        reason=quarantined.reason,
        evidence=dict(quarantined.evidence),
        at=quarantined.at,
    )
    session.add(row)


def list_quarantine(
    session: Session, *, fact_id: str | None = None, limit: int | None = None
) -> list[QuarantinedFact]:
    """The facts that were set aside, newest first; at most `limit`, None: all.

    fact_id: only the entries of this fact.
    """
    query = select(QuarantineRow).order_by(QuarantineRow.id.desc()).limit(limit)
    if fact_id:
        query = query.where(QuarantineRow.fact_id == fact_id)
    return [
        QuarantinedFact(
            fact_id=row.fact_id,
            candidate_id=row.candidate_id,
            reason=row.reason,
            evidence=row.evidence,
            at=row.at,
        )
        for row in session.scalars(query)
    ]


def count_quarantined(session: Session) -> int:
    """The number of entries in quarantine. A fact that was set aside twice counts twice."""
    return session.scalar(select(func.count()).select_from(QuarantineRow)) or 0


def count_audits(session: Session) -> dict[str, int]:
    """The number of audits by outcome."""
    query = select(ReleaseAuditRow.outcome, func.count()).group_by(ReleaseAuditRow.outcome)
    return {outcome: count for outcome, count in session.execute(query)}  # noqa: C416 - rows, no dict


def add_audit(session: Session, audit: Audit) -> None:
    """Store an audit of the live release."""
    row = ReleaseAuditRow(
        release=audit.release,
        outcome=audit.outcome,
        action=audit.action,
        reasons=list(audit.reasons),
        report=dict(audit.report),
        at=audit.at,
    )
    session.add(row)


def forget_reports(session: Session, before: datetime, keep: Iterable[int]) -> int:
    """Delete the reports of candidates and audits from before a time.

    Returns the number of candidates that lost their report.
    Decisions and their reasons stay, and so does the report of the newest audit.
    keep: ids of candidates whose reports stay.
    """
    old = (CandidateRow.created_at < before, CandidateRow.id.not_in(list(keep)))
    has_report = CandidateRow.report.is_not(null())
    result = session.execute(update(CandidateRow).where(*old, has_report).values(report=null()))
    newest = select(func.max(ReleaseAuditRow.id)).scalar_subquery()
    old_audits = (ReleaseAuditRow.at < before, ReleaseAuditRow.id != newest)
    session.execute(update(ReleaseAuditRow).where(*old_audits).values(report={"lost": []}))
    return row_count(result)


def audits(session: Session, *, limit: int = 20) -> Sequence[Audit]:
    """The audits of live releases, newest first; at most `limit`."""
    query = select(ReleaseAuditRow).order_by(ReleaseAuditRow.id.desc()).limit(limit)
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
