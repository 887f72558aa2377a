"""The snapshot from which notices are derived.

It reads only the newest rows, through indexes, and no fact ids of releases and no reports.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from factd.store import operations, queries
from factd.store.model.facts import CURRENT, FactStatus
from factd.store.model.handovers import HandoverStatus
from factd.store.model.operations import AuditLogEntry, TaskStatus
from factd.store.model.releases import CandidateStatus, ReleaseStatus, RunStatus
from factd.store.model.snapshot import (
    AuditSummary,
    FinishedRun,
    LaggingServer,
    LiveReleaseSummary,
    QuarantineEntry,
    RejectedCandidate,
    Snapshot,
    TroubledSource,
    WorkerDeath,
)
from factd.store.schema.facts import FactRow, SourceRow
from factd.store.schema.operations import DeathRow, NoticeRow, TaskRow
from factd.store.schema.releases import (
    AuditLogRow,
    CandidateRow,
    QuarantineRow,
    ReleaseAuditRow,
    ReleaseRow,
    RunRow,
)

NEWEST = 50  # most worker deaths, and most rollbacks
NEWEST_LINES = 1000  # lines of the audit log that are searched for rollbacks
NEWEST_QUARANTINED = 500  # most entries of the quarantine
NEWEST_BAKED = 500  # most baked facts that no longer hold
LAST_RUNS = 20  # most runs of each job
ROLLBACK = "rollback"  # an audit log line about a rollback begins with this word
IN_FLIGHT = (CandidateStatus.PLANNED, CandidateStatus.SOLVING, CandidateStatus.CHECKING)


def snapshot(
    session: Session,
    *,
    now: datetime,
    waiting: tuple[int, ...] = (),
    servers: Iterable[str] = (),
    limit: str = "",
) -> Snapshot:
    """How factd stands at this moment.

    waiting: numbers of releases that wait for an operator. servers: names of the configured
    servers.
    limit: a sentence about the limit of the day that is reached; empty if none is.
    """
    open_keys = session.scalars(select(NoticeRow.key).where(NoticeRow.over_at.is_(None)))
    return Snapshot(
        now=now,
        frozen=queries.releases.frozen(session),
        rejected=_rejected(session),
        edit_in_progress=_edit_in_progress(session),
        quarantined=_quarantined(session),
        troubled_sources=_troubled_sources(session),
        rollbacks=_rollbacks(session),
        last_audit=_last_audit(session),
        worker_deaths=_worker_deaths(session),
        live=_live(session),
        runs={job: _last_runs(session, job) for job in _jobs(session)},
        waiting_releases=waiting,
        lagging_servers=tuple(_lagging_servers(session, servers)),
        reached_limit=limit,
        still_baked=still_baked(session),
        open_notice_keys=frozenset(open_keys),
    )


def still_baked(session: Session) -> tuple[str, ...]:
    """The ids of baked facts that no longer hold and that no current value replaces; by id.

    The base model still says them. Among the baked facts that no longer hold, only the first
    NEWEST_BAKED are examined.
    """
    gone = (FactStatus.WITHDRAWN, FactStatus.REJECTED, FactStatus.EXPIRED)
    where = (FactRow.status.in_(gone), FactRow.baked_in.is_not(None))
    baked = queries.facts.facts_where(session, *where, limit=NEWEST_BAKED)
    pairs = [fact.update.pair for fact in baked]
    current = queries.facts.facts_of(session, pairs, FactRow.status.in_(CURRENT))
    replaced = {fact.update.pair for fact in current}
    return tuple(fact.id for fact in baked if fact.update.pair not in replaced)


def highest_leverage(session: Session, candidate: int) -> float | None:
    """The highest leverage of a candidate's layers; None if its method measures no leverage.

    This reads the candidate's measurements, which are long. They never change, so the caller
    should keep the result.
    """
    query = select(CandidateRow.report["measurements"]).where(CandidateRow.id == candidate)
    rows: list[dict[str, Any]] = session.scalar(query) or []
    values = [row["value"] for row in rows if str(row["metric"]).endswith("leverage_max")]
    return max((float(value) for value in values if value is not None), default=None)


def _rejected(session: Session) -> RejectedCandidate | None:
    """The newest rejected candidate, unless one was accepted after it. Only its own row is read."""
    newest = {
        status: session.scalar(
            select(func.max(CandidateRow.id)).where(CandidateRow.status == status)
        )
        for status in (CandidateStatus.ACCEPTED, CandidateStatus.REJECTED)
    }
    id_ = newest[CandidateStatus.REJECTED]
    if id_ is None or id_ < (newest[CandidateStatus.ACCEPTED] or 0):
        return None
    row = CandidateRow
    query = select(row.batch_id, row.reasons, row.changed_at).where(row.id == id_)
    batch_id, reasons, changed_at = session.execute(query).one()
    return RejectedCandidate(
        id=id_, batch_id=batch_id, reasons=tuple(reasons), changed_at=changed_at
    )


def _edit_in_progress(session: Session) -> bool:
    """Whether a candidate, an edit task or a run of the cycle is unfinished.

    While it is, a rejected candidate may still be narrowed.
    """
    candidate = select(CandidateRow.id).where(CandidateRow.status.in_(IN_FLIGHT))
    task = select(TaskRow.id).where(TaskRow.status == TaskStatus.RUNNING, TaskRow.kind == "edit")
    run = select(RunRow.id).where(RunRow.status == RunStatus.RUNNING, RunRow.job == "cycle")
    return any(session.scalar(query.limit(1)) is not None for query in (candidate, task, run))


def _quarantined(session: Session) -> tuple[QuarantineEntry, ...]:
    row = QuarantineRow
    query = select(row.fact_id, row.candidate_id, row.reason, row.at)
    rows = session.execute(query.order_by(row.id.desc()).limit(NEWEST_QUARANTINED))
    return tuple(
        QuarantineEntry(fact_id=fact, candidate_id=candidate, reason=reason, at=at)
        for fact, candidate, reason, at in rows
    )


def _troubled_sources(session: Session) -> tuple[TroubledSource, ...]:
    row = SourceRow
    query = select(row.name, row.frozen, row.failures, row.error).order_by(row.name)
    rows = session.execute(query.where((row.frozen != "") | (row.failures > 0)))
    return tuple(
        TroubledSource(name=name, frozen=frozen, failures=failures, error=error)
        for name, frozen, failures, error in rows
    )


def _rollbacks(session: Session) -> tuple[AuditLogEntry, ...]:
    last = session.scalar(select(func.max(AuditLogRow.id))) or 0
    where = (AuditLogRow.id > last - NEWEST_LINES, AuditLogRow.what.startswith(ROLLBACK))
    query = select(AuditLogRow).where(*where).order_by(AuditLogRow.id.desc()).limit(NEWEST)
    return tuple(
        AuditLogEntry(id=row.id, at=row.at, who=row.who, what=row.what, why=row.why)
        for row in session.scalars(query)
    )


def _last_audit(session: Session) -> AuditSummary | None:
    row = ReleaseAuditRow
    query = select(row.id, row.release, row.outcome, row.action, row.reasons, row.at)
    newest = session.execute(query.order_by(row.id.desc()).limit(1)).one_or_none()
    if newest is None:
        return None
    id_, release, outcome, action, reasons, at = newest
    return AuditSummary(
        id=id_, release=release, outcome=outcome, action=action, reasons=tuple(reasons), at=at
    )


def _worker_deaths(session: Session) -> tuple[WorkerDeath, ...]:
    query = select(DeathRow).order_by(DeathRow.id.desc()).limit(NEWEST)
    return tuple(
        WorkerDeath(
            task_id=row.task_id,
            cause=row.cause,
            facts=len(row.in_hand),
            detail=row.detail,
            at=row.at,
        )
        for row in session.scalars(query)
    )


def _lagging_servers(session: Session, servers: Iterable[str]) -> Iterator[LaggingServer]:
    """The servers whose newest hand-over was given up, or has failed at least once and is open."""
    for name in servers:
        newest = operations.handovers.newest(session, name)
        if newest is None or not newest.error or newest.status is HandoverStatus.DONE:
            continue
        yield LaggingServer(
            server=name,
            handover=newest.id,
            release=newest.release,
            given_up=newest.status is HandoverStatus.FAILED,
            attempts=newest.attempts,
            error=newest.error,
            restored=newest.restored,
        )


def _live(session: Session) -> LiveReleaseSummary | None:
    row = ReleaseRow
    count = func.json_array_length(row.fact_ids)  # counted by the database
    query = select(row.number, row.candidate_id, count, row.why, row.live_at)
    live = session.execute(query.where(row.status == ReleaseStatus.LIVE)).one_or_none()
    if live is None:
        return None
    number, candidate, facts, why, live_at = live
    return LiveReleaseSummary(
        number=number, candidate_id=candidate, facts=facts, why=why, live_at=live_at
    )


def _jobs(session: Session) -> Iterator[str]:
    """The names of all jobs that ever ran, with one index lookup for each."""
    last: str | None = session.scalar(select(func.min(RunRow.job)))
    while last is not None:
        yield last
        last = session.scalar(select(func.min(RunRow.job)).where(RunRow.job > last))


def _last_runs(session: Session, job: str) -> tuple[FinishedRun, ...]:
    row = RunRow
    query = select(row.status, row.detail, row.started_at, row.finished_at)
    where = (row.job == job, row.status != RunStatus.RUNNING)
    rows = session.execute(query.where(*where).order_by(row.scheduled_for.desc()).limit(LAST_RUNS))
    return tuple(
        FinishedRun(status=RunStatus(status), detail=detail, at=finished or started)
        for status, detail, started, finished in rows
    )
