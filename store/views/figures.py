"""Figures in the database. Each query reads a few rows or an index, whatever the history's length."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from factd.store import operations, queries
from factd.store.model.evidence import AuditOutcome
from factd.store.model.facts import FactStatus
from factd.store.model.figures import (
    AuditFigures,
    Figures,
    LiveFigures,
    ServerFigures,
    Waiting,
    WorkerFigures,
)
from factd.store.model.handovers import HandoverStatus
from factd.store.model.operations import Lease, TaskStatus
from factd.store.model.releases import ReleaseStatus, RunStatus
from factd.store.schema.facts import FactRow
from factd.store.schema.operations import (
    ApprovalRow,
    DeathRow,
    DispatchRow,
    LeaseRow,
    NoticeRow,
    TaskRow,
    WorkerRow,
)
from factd.store.schema.releases import CandidateRow, ReleaseRow, RunRow

NEXT = 1000  # facts, the first by turn, among which the oldest is looked for
ALIVE = timedelta(seconds=60)  # a worker that was seen within
LATELY = timedelta(
    hours=1
)  # deaths; older ones are forgotten some day, so that a counter would fall


def figures(
    session: Session,
    *,
    steps: Sequence[str],
    sources: Sequence[str],
    servers: Sequence[str] = (),
    now: datetime,
) -> Figures:
    """What the database says now, of the named steps, sources and servers."""
    live = _live(session)
    return Figures(
        facts=queries.facts.counts(session),
        queue_since=_queue_since(session),
        candidates=_by(session, CandidateRow.status),
        live=live,
        releases_waiting=_releases_waiting(session, live.number if live else -1),
        frozen=queries.releases.frozen(session),
        running=_pairs(session, _running()),
        succeeded=_succeeded(session, steps),
        sources=tuple(queries.sources.source_state(session, name) for name in sources),
        set_aside=queries.evidence.count_set_aside(session),
        audits=_audits(session),
        workers=_workers(session, now),
        leases=_leases(session),
        notices_open=_count(session, select(NoticeRow.id).where(NoticeRow.over_at.is_(None))),
        dispatches=_by(session, DispatchRow.status),
        servers=_servers(session, servers, live),
        today=_today(session, now),
    )


def _servers(
    session: Session, names: Sequence[str], live: LiveFigures | None
) -> tuple[ServerFigures, ...]:
    states = operations.handovers.states(session) if names else {}
    counts = operations.handovers.counts(session) if names else {}
    found = []
    for name in names:
        state, newest = states.get(name), operations.handovers.newest(session, name)
        release = state.release if state else None
        has = live is None or release == live.number
        found.append(
            ServerFigures(
                name=name,
                release=release,
                seen_at=state.seen_at if state else None,
                behind_since=None if has or live is None else live.live_at,
                failed=newest is not None and newest.status is HandoverStatus.FAILED,
                attempts=newest.attempts if newest is not None and newest.is_open else 0,
                handovers={s.value: counts.get((name, s.value), 0) for s in HandoverStatus},
            )
        )
    return tuple(found)


def _pairs(session: Session, query: Any) -> dict[Any, Any]:
    return {row[0]: row[1] for row in session.execute(query)}


def _by(session: Session, column: Any) -> dict[str, int]:
    return _pairs(session, select(column, func.count()).group_by(column))


def _count(session: Session, query: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def _queue_since(session: Session) -> datetime | None:
    first = select(FactRow.changed_at).where(FactRow.status == FactStatus.PENDING)
    first = first.order_by(FactRow.turn, FactRow.id).limit(NEXT)
    found: datetime | None = session.scalar(select(func.min(first.subquery().c.changed_at)))
    return found


def _live(session: Session) -> LiveFigures | None:
    """Without the long list of its facts."""
    live, counted = ReleaseRow.status == ReleaseStatus.LIVE, ReleaseRow.fact_count
    about = (ReleaseRow.live_at, ReleaseRow.base)
    query = select(ReleaseRow.number, ReleaseRow.candidate_id, counted, *about)
    row = session.execute(query.where(live)).first()
    if row is None:
        return None
    return LiveFigures(
        number=row[0], candidate_id=row[1], facts=row[2], live_at=row[3], base=row[4]
    )


def _releases_waiting(session: Session, live: int) -> Waiting:
    """Accepted releases that nothing newer has overtaken and no operator has spoken about."""
    spoken = select(ApprovalRow.batch_id)
    query = (
        select(func.count(), func.min(ReleaseRow.created_at))
        .join(CandidateRow, CandidateRow.id == ReleaseRow.candidate_id)
        .where(ReleaseRow.status == ReleaseStatus.ACCEPTED, ReleaseRow.number > live)
        .where(CandidateRow.batch_id.not_in(spoken))
    )
    count, since = session.execute(query).one()
    return Waiting(count=count, since=since)


def _running() -> Any:
    query = select(RunRow.job, func.max(RunRow.started_at))
    return query.where(RunRow.status == RunStatus.RUNNING).group_by(RunRow.job)


def _succeeded(session: Session, steps: Sequence[str]) -> dict[str, datetime]:
    """By the index of ticks, from the newest back to the first that was done."""
    found = {}
    for step in steps:
        query = select(RunRow.finished_at).where(
            RunRow.job == step, RunRow.status == RunStatus.DONE
        )
        at = session.scalar(query.order_by(RunRow.scheduled_for.desc()).limit(1))
        if at is not None:
            found[step] = at
    return found


def _audits(session: Session) -> AuditFigures:
    outcomes = queries.evidence.count_audits(session)
    last = next(iter(queries.evidence.audits(session, limit=1)), None)
    if last is None:
        return AuditFigures(outcomes=outcomes)
    return AuditFigures(
        outcomes=outcomes,
        last_at=last.at,
        last_failed=last.outcome is AuditOutcome.FAILED,
        last_lost=len(last.report.get("lost", ())),
    )


def _workers(session: Session, now: datetime) -> WorkerFigures:
    waiting, running = TaskRow.status == TaskStatus.WAITING, TaskRow.status == TaskStatus.RUNNING
    kinds = select(TaskRow.kind, TaskRow.status, func.count()).where(waiting | running)
    rows = session.execute(kinds.group_by(TaskRow.kind, TaskRow.status))
    died = select(DeathRow.cause, func.count()).where(DeathRow.at >= now - LATELY)
    at_work = select(func.min(WorkerRow.seen_at)).join(TaskRow, TaskRow.id == WorkerRow.task_id)
    return WorkerFigures(
        alive=_count(session, select(WorkerRow.name).where(WorkerRow.seen_at >= now - ALIVE)),
        seen_at=session.scalar(select(func.max(WorkerRow.seen_at))),
        tasks={(kind, status): count for kind, status, count in rows},
        waiting_since=session.scalar(select(func.min(TaskRow.created_at)).where(waiting)),
        silent_since=session.scalar(at_work.where(running)),
        deaths=_pairs(session, died.group_by(DeathRow.cause)),
    )


def _leases(session: Session) -> tuple[Lease, ...]:
    rows = session.scalars(select(LeaseRow).order_by(LeaseRow.name))
    return tuple(
        Lease(name=row.name, holder=row.holder, epoch=row.epoch, turns=row.turns) for row in rows
    )


def _today(session: Session, now: datetime) -> dict[str, int]:
    """What a day's limits count: candidates, releases that went live, facts that these brought."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    tried = select(CandidateRow.id).where(CandidateRow.created_at >= midnight)
    rows = select(ReleaseRow.fact_ids).where(ReleaseRow.number > 0)
    out = session.scalars(rows.where(ReleaseRow.live_at >= midnight)).all()
    earlier = rows.where(ReleaseRow.live_at < midnight).order_by(ReleaseRow.live_at.desc())
    before = session.scalar(earlier.limit(1)) if out else ()
    brought = {id_ for ids in out for id_ in ids} - set(before or ())
    return {"edits": _count(session, tried), "facts": len(brought), "publishes": len(out)}
