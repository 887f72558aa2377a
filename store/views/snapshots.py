"""The snapshot that notices are found in: by indexes, the newest rows only, no fact and no report is read."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from factd.store import operations, queries
from factd.store.model.facts import CURRENT, FactStatus
from factd.store.model.handovers import HandoverStatus
from factd.store.model.operations import TaskStatus
from factd.store.model.releases import CandidateStatus, ReleaseStatus, RunStatus
from factd.store.model.snapshot import (
    Aside,
    Behind,
    Death,
    Done,
    Ended,
    Looked,
    Rejected,
    Serving,
    Snapshot,
    Watched,
)
from factd.store.schema.facts import FactRow, SourceRow
from factd.store.schema.operations import DeathRow, NoticeRow, TaskRow
from factd.store.schema.releases import (
    AuditedRow,
    AuditRow,
    CandidateRow,
    QuarantineRow,
    ReleaseRow,
    RunRow,
)

NEWEST = 50  # deaths, rollbacks
NEWEST_LINES = 1000  # of the audit log
NEWEST_ASIDE = 500  # facts that were set aside
NEWEST_BAKED = 500  # facts that are baked and do not hold
LAST_RUNS = 20  # of a job
ROLLBACK = "rollback"  # how a line of the audit log about one begins
IN_FLIGHT = (CandidateStatus.PLANNED, CandidateStatus.SOLVING, CandidateStatus.CHECKING)


def snapshot(
    session: Session,
    *,
    now: datetime,
    waiting: tuple[int, ...] = (),
    servers: Iterable[str] = (),
    limit: str = "",
) -> Snapshot:
    """How factd stands. waiting: releases that wait for an operator. servers: by name. limit: one that was reached."""
    return Snapshot(
        now=now,
        frozen=queries.releases.frozen(session),
        rejected=_rejected(session),
        under_way=_under_way(session),
        set_aside=_set_aside(session),
        sources=_sources(session),
        done=_rollbacks(session),
        audit=_audit(session),
        deaths=_deaths(session),
        live=_live(session),
        runs={job: _last_runs(session, job) for job in _jobs(session)},
        waiting=waiting,
        behind=tuple(_behind(session, servers)),
        limit=limit,
        still_baked=still_baked(session),
        told=frozenset(session.scalars(select(NoticeRow.key).where(NoticeRow.over_at.is_(None)))),
    )


def still_baked(session: Session) -> tuple[str, ...]:
    """Facts that the base says because they were baked, that do not hold, and that nothing is or will be written over."""
    gone = (FactStatus.WITHDRAWN, FactStatus.REJECTED, FactStatus.EXPIRED)
    where = (FactRow.status.in_(gone), FactRow.baked_in.is_not(None))
    found = queries.facts.facts_where(session, *where, limit=NEWEST_BAKED)
    pairs = [fact.update.pair for fact in found]
    holds = queries.facts.facts_of(session, pairs, FactRow.status.in_(CURRENT))
    replaced = {fact.update.pair for fact in holds}
    return tuple(fact.id for fact in found if fact.update.pair not in replaced)


def highest_leverage(session: Session, candidate: int) -> float | None:
    """Of a candidate's layers; None where its method has none. Reads its measurements: ask once, they do not change."""
    query = select(CandidateRow.report["measurements"]).where(CandidateRow.id == candidate)
    rows: list[dict[str, Any]] = session.scalar(query) or []
    found = [row["value"] for row in rows if str(row["metric"]).endswith("leverage_max")]
    return max((float(value) for value in found if value is not None), default=None)


def _rejected(session: Session) -> Rejected | None:
    """The newest candidate that was rejected with none accepted after it. Only its own long row is read."""
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
    return Rejected(id=id_, batch_id=batch_id, reasons=tuple(reasons), changed_at=changed_at)


def _under_way(session: Session) -> bool:
    """A candidate, a task or a run of the cycle is not done: what was rejected may still be narrowed."""
    candidate = select(CandidateRow.id).where(CandidateRow.status.in_(IN_FLIGHT))
    task = select(TaskRow.id).where(TaskRow.status == TaskStatus.RUNNING, TaskRow.kind == "edit")
    run = select(RunRow.id).where(RunRow.status == RunStatus.RUNNING, RunRow.job == "cycle")
    return any(session.scalar(query.limit(1)) is not None for query in (candidate, task, run))


def _set_aside(session: Session) -> tuple[Aside, ...]:
    row = QuarantineRow
    query = select(row.fact_id, row.candidate_id, row.reason, row.at)
    rows = session.execute(query.order_by(row.id.desc()).limit(NEWEST_ASIDE))
    return tuple(
        Aside(fact_id=fact, candidate_id=candidate, reason=reason, at=at)
        for fact, candidate, reason, at in rows
    )


def _sources(session: Session) -> tuple[Watched, ...]:
    row = SourceRow
    query = select(row.name, row.frozen, row.failures, row.error).order_by(row.name)
    rows = session.execute(query.where((row.frozen != "") | (row.failures > 0)))
    return tuple(
        Watched(name=name, frozen=frozen, failures=failures, error=error)
        for name, frozen, failures, error in rows
    )


def _rollbacks(session: Session) -> tuple[Done, ...]:
    last = session.scalar(select(func.max(AuditRow.id))) or 0
    where = (AuditRow.id > last - NEWEST_LINES, AuditRow.what.startswith(ROLLBACK))
    query = select(AuditRow).where(*where).order_by(AuditRow.id.desc()).limit(NEWEST)
    return tuple(
        Done(id=row.id, at=row.at, who=row.who, what=row.what, why=row.why)
        for row in session.scalars(query)
    )


def _audit(session: Session) -> Looked | None:
    row = AuditedRow
    query = select(row.id, row.release, row.outcome, row.action, row.reasons, row.at)
    found = session.execute(query.order_by(row.id.desc()).limit(1)).one_or_none()
    if found is None:
        return None
    id_, release, outcome, action, reasons, at = found
    return Looked(
        id=id_, release=release, outcome=outcome, action=action, reasons=tuple(reasons), at=at
    )


def _deaths(session: Session) -> tuple[Death, ...]:
    query = select(DeathRow).order_by(DeathRow.id.desc()).limit(NEWEST)
    return tuple(
        Death(
            task_id=row.task_id,
            cause=row.cause,
            facts=len(row.in_hand),
            detail=row.detail,
            at=row.at,
        )
        for row in session.scalars(query)
    )


def _behind(session: Session, servers: Iterable[str]) -> Iterator[Behind]:
    """Servers whose last hand-over did not succeed at its first attempt, or was given up."""
    for name in servers:
        one = operations.handovers.newest(session, name)
        if one is None or not one.error or one.status is HandoverStatus.DONE:
            continue
        yield Behind(
            server=name,
            handover=one.id,
            release=one.release,
            given_up=one.status is HandoverStatus.FAILED,
            attempts=one.attempts,
            error=one.error,
            restored=one.restored,
        )


def _live(session: Session) -> Serving | None:
    row = ReleaseRow
    held = func.json_array_length(row.fact_ids)  # the database counts them
    query = select(row.number, row.candidate_id, held, row.why, row.live_at)
    found = session.execute(query.where(row.status == ReleaseStatus.LIVE)).one_or_none()
    if found is None:
        return None
    number, candidate, facts, why, live_at = found
    return Serving(number=number, candidate_id=candidate, facts=facts, why=why, live_at=live_at)


def _jobs(session: Session) -> Iterator[str]:
    """The jobs that ever ran, one look into the index each."""
    last: str | None = session.scalar(select(func.min(RunRow.job)))
    while last is not None:
        yield last
        last = session.scalar(select(func.min(RunRow.job)).where(RunRow.job > last))


def _last_runs(session: Session, job: str) -> tuple[Ended, ...]:
    row = RunRow
    query = select(row.status, row.detail, row.started_at, row.finished_at)
    where = (row.job == job, row.status != RunStatus.RUNNING)
    rows = session.execute(query.where(*where).order_by(row.scheduled_for.desc()).limit(LAST_RUNS))
    return tuple(
        Ended(status=RunStatus(status), detail=detail, at=finished or started)
        for status, detail, started, finished in rows
    )
