"""Numbers about the whole database, for metrics.

Each query reads a few rows or an index, however long the history is.
"""

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
    Backlog,
    Figures,
    LiveFigures,
    ServerFigures,
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

NEXT = 1000  # the oldest waiting fact is searched among this many that are written next
ALIVE = timedelta(seconds=60)  # a worker that was seen within this time is alive
LATELY = timedelta(hours=1)  # older worker deaths are not counted: their rows get deleted one day


def figures(
    session: Session,
    *,
    steps: Sequence[str],
    sources: Sequence[str],
    servers: Sequence[str] = (),
    now: datetime,
) -> Figures:
    """All numbers about the database at this moment, for the named steps, sources and servers."""
    live = _live(session)
    return Figures(
        facts=queries.facts.counts(session),
        queue_since=_queue_since(session),
        candidates=_counts_by(session, CandidateRow.status),
        live=live,
        releases_waiting=_releases_waiting(session, live.number if live else -1),
        frozen=queries.releases.frozen(session),
        running=_dict(session, _running()),
        succeeded=_succeeded(session, steps),
        sources=tuple(queries.sources.source_state(session, name) for name in sources),
        set_aside=queries.evidence.count_quarantined(session),
        audits=_audits(session),
        workers=_workers(session, now),
        leases=_leases(session),
        notices_open=_count(session, select(NoticeRow.id).where(NoticeRow.over_at.is_(None))),
        dispatches=_counts_by(session, DispatchRow.status),
        servers=_servers(session, servers, live),
        today=_today(session, now),
    )


def _servers(
    session: Session, names: Sequence[str], live: LiveFigures | None
) -> tuple[ServerFigures, ...]:
    states = operations.handovers.server_states(session) if names else {}
    counts = operations.handovers.counts(session) if names else {}
    figures_ = []
    for name in names:
        state, newest = states.get(name), operations.handovers.newest(session, name)
        release = state.release if state else None
        is_up_to_date = live is None or release == live.number
        figures_.append(
            ServerFigures(
                name=name,
                release=release,
                seen_at=state.seen_at if state else None,
                behind_since=None if is_up_to_date or live is None else live.live_at,
                failed=newest is not None and newest.status is HandoverStatus.FAILED,
                attempts=newest.attempts if newest is not None and newest.is_open else 0,
                handovers={s.value: counts.get((name, s.value), 0) for s in HandoverStatus},
            )
        )
    return tuple(figures_)


def _dict(session: Session, query: Any) -> dict[Any, Any]:
    """The first column of each row mapped to the second."""
    return {row[0]: row[1] for row in session.execute(query)}


def _counts_by(session: Session, column: Any) -> dict[str, int]:
    return _dict(session, select(column, func.count()).group_by(column))


def _count(session: Session, query: Select[Any]) -> int:
    return session.scalar(select(func.count()).select_from(query.subquery())) or 0


def _queue_since(session: Session) -> datetime | None:
    first = select(FactRow.changed_at).where(FactRow.status == FactStatus.PENDING)
    first = first.order_by(FactRow.turn, FactRow.id).limit(NEXT)
    oldest: datetime | None = session.scalar(select(func.min(first.subquery().c.changed_at)))
    return oldest


def _live(session: Session) -> LiveFigures | None:
    """Numbers about the live release, read without its long list of fact ids."""
    row = ReleaseRow
    query = select(row.number, row.candidate_id, row.fact_count, row.live_at, row.base)
    live = session.execute(query.where(row.status == ReleaseStatus.LIVE)).first()
    if live is None:
        return None
    number, candidate_id, facts, live_at, base = live
    return LiveFigures(
        number=number, candidate_id=candidate_id, facts=facts, live_at=live_at, base=base
    )


def _releases_waiting(session: Session, live: int) -> Backlog:
    """Accepted releases newer than the live one that no operator has decided about."""
    decided = select(ApprovalRow.batch_id)
    query = (
        select(func.count(), func.min(ReleaseRow.created_at))
        .join(CandidateRow, CandidateRow.id == ReleaseRow.candidate_id)
        .where(ReleaseRow.status == ReleaseStatus.ACCEPTED, ReleaseRow.number > live)
        .where(CandidateRow.batch_id.not_in(decided))
    )
    count, since = session.execute(query).one()
    return Backlog(count=count, since=since)


def _running() -> Any:
    query = select(RunRow.job, func.max(RunRow.started_at))
    return query.where(RunRow.status == RunStatus.RUNNING).group_by(RunRow.job)


def _succeeded(session: Session, steps: Sequence[str]) -> dict[str, datetime]:
    """The end of the last successful run of each step, read backwards through the index of runs."""
    ends = {}
    for step in steps:
        query = select(RunRow.finished_at).where(
            RunRow.job == step, RunRow.status == RunStatus.DONE
        )
        at = session.scalar(query.order_by(RunRow.scheduled_for.desc()).limit(1))
        if at is not None:
            ends[step] = at
    return ends


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
        deaths=_dict(session, died.group_by(DeathRow.cause)),
    )


def _leases(session: Session) -> tuple[Lease, ...]:
    rows = session.scalars(select(LeaseRow).order_by(LeaseRow.name))
    return tuple(
        Lease(name=row.name, holder=row.holder, epoch=row.epoch, turns=row.turns) for row in rows
    )


def _today(session: Session, now: datetime) -> dict[str, int]:
    """The counts that the limits of a day apply to.

    Candidates, releases that went live, and the facts that these releases added.
    """
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    candidates = select(CandidateRow.id).where(CandidateRow.created_at >= midnight)
    rows = select(ReleaseRow.fact_ids).where(ReleaseRow.number > 0)
    published = session.scalars(rows.where(ReleaseRow.live_at >= midnight)).all()
    earlier = rows.where(ReleaseRow.live_at < midnight).order_by(ReleaseRow.live_at.desc())
    before = session.scalar(earlier.limit(1)) if published else ()
    added = {id_ for ids in published for id_ in ids} - set(before or ())
    return {
        "edits": _count(session, candidates),
        "facts": len(added),
        "publishes": len(published),
    }
