"""Tasks of workers: added, claimed by one worker, kept alive by heartbeats, ended.

Workers and their deaths are stored here too.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import row_count
from factd.store.errors import Overtaken
from factd.store.model.operations import Task, TaskStatus, Worker, check_task_move
from factd.store.schema.operations import DeathRow, TaskRow, WorkerRow

OPEN = (TaskStatus.WAITING, TaskStatus.RUNNING)
LONGEST_WAIT = timedelta(hours=1)  # a task that seems to wait longer is due: a clock has jumped


def add_task(
    session: Session,
    kind: str,
    arguments: Mapping[str, Any],
    *,
    now: datetime,
    size: int | None = None,
) -> Task:
    """Add a task for a worker. If a task of this kind is open, that task is returned instead."""
    query = select(TaskRow).where(TaskRow.kind == kind, TaskRow.status.in_(OPEN))
    row = session.scalar(query.order_by(TaskRow.id).limit(1))
    if row is None:
        row = TaskRow(
            kind=kind,
            arguments=dict(arguments),
            status=TaskStatus.WAITING,
            attempt=0,
            size=size,
            worker="",
            beats=0,
            step="",
            in_hand=[],
            not_before=None,
            created_at=now,
            started_at=None,
            finished_at=None,
            detail="",
            result={},
        )
        session.add(row)
        session.flush()
    return _task(row)


def task(session: Session, id_: int) -> Task:
    """One task by its id, which must exist."""
    return _task(session.get_one(TaskRow, id_, populate_existing=True))


def open_tasks(session: Session) -> list[Task]:
    """The waiting and running tasks, oldest first; no limit."""
    query = select(TaskRow).where(TaskRow.status.in_(OPEN)).order_by(TaskRow.id)
    return [_task(row) for row in session.scalars(query)]


def last_task(session: Session, kind: str) -> Task | None:
    """The newest task of a kind; None if there is none."""
    query = select(TaskRow).where(TaskRow.kind == kind).order_by(TaskRow.id.desc()).limit(1)
    row = session.scalar(query)
    return _task(row) if row else None


def claim(session: Session, worker: str, *, now: datetime) -> Task | None:
    """Give a worker the oldest task that is due.

    None if no task is due, or if another worker claimed it first.
    """
    query = select(TaskRow).where(*_due(now)).order_by(TaskRow.id).limit(1)
    row = session.scalar(query.with_for_update(skip_locked=True))
    if row is None:
        return None
    taken = {
        "status": TaskStatus.RUNNING,
        "worker": worker,
        "attempt": row.attempt + 1,
        "beats": 0,
        "step": "start",
        "in_hand": [],
        "started_at": now,
    }
    where = (TaskRow.id == row.id, TaskRow.status == TaskStatus.WAITING)
    if not _one(session.execute(update(TaskRow).where(*where).values(taken))):
        return None
    return task(session, row.id)


def is_due(session: Session, *, now: datetime) -> bool:
    """Whether there is a task that a worker may claim."""
    return session.scalar(select(TaskRow.id).where(*_due(now)).limit(1)) is not None


def _due(now: datetime) -> tuple[Any, ...]:
    moment = or_(
        TaskRow.not_before.is_(None),
        TaskRow.not_before <= now,
        TaskRow.not_before > now + LONGEST_WAIT,
    )
    return (TaskRow.status == TaskStatus.WAITING, moment)


def heartbeat(session: Session, held: Task, *, step: str, in_hand: Sequence[str]) -> None:
    """Show that the worker is alive, and store its step and the facts it is working on.

    Raises: Overtaken: the task was taken from this worker.
    """
    values = {"beats": TaskRow.beats + 1, "step": step, "in_hand": list(in_hand)}
    if not _one(session.execute(update(TaskRow).where(*_still_held(held)).values(values))):
        raise Overtaken(f"task {held.id} was taken from this worker; its work is abandoned")


def end_task(
    session: Session,
    held: Task,
    status: TaskStatus,
    detail: str,
    result: Mapping[str, Any],
    *,
    now: datetime,
) -> None:
    """Store how a task ended.

    Raises: Overtaken: the task was taken from this worker.
    IllegalMove: a running task cannot get this status.
    """
    check_task_move(TaskStatus.RUNNING, status)
    values = {"status": status, "detail": detail, "result": dict(result), "finished_at": now}
    if not _one(session.execute(update(TaskRow).where(*_still_held(held)).values(values))):
        raise Overtaken(f"task {held.id} was taken from this worker; its result is not stored")


def requeue(
    session: Session, held: Task, *, size: int | None, not_before: datetime, detail: str
) -> bool:
    """Let a task whose worker died wait for another worker.

    Returns False if the task no longer belongs to that worker.
    """
    values = {
        "status": TaskStatus.WAITING,
        "worker": "",
        "size": size,
        "not_before": not_before,
        "detail": detail,
    }
    return _one(session.execute(update(TaskRow).where(*_still_held(held)).values(values)))


def give_up(session: Session, held: Task, detail: str, *, now: datetime) -> bool:
    """Mark a task as failed because its workers died too often.

    Returns False if the task no longer belongs to that worker.
    """
    values = {"status": TaskStatus.FAILED, "detail": detail, "finished_at": now}
    return _one(session.execute(update(TaskRow).where(*_still_held(held)).values(values)))


def _still_held(held: Task) -> tuple[Any, ...]:
    """The condition that a task still belongs to the worker and the attempt that hold it."""
    return (
        TaskRow.id == held.id,
        TaskRow.status == TaskStatus.RUNNING,
        TaskRow.worker == held.worker,
        TaskRow.attempt == held.attempt,
    )


def record_death(session: Session, held: Task, cause: str, detail: str, *, now: datetime) -> None:
    """Store that a worker died or ran out of memory, with the facts it was working on."""
    row = DeathRow(task_id=held.id, cause=cause, in_hand=list(held.in_hand), detail=detail, at=now)
    session.add(row)


def deaths_holding_only(session: Session, fact_id: str, *, limit: int = 200) -> int:
    """The number of worker deaths, among the newest `limit`, with this fact alone in hand."""
    query = select(DeathRow.in_hand).order_by(DeathRow.id.desc()).limit(limit)
    return sum(in_hand == [fact_id] for in_hand in session.scalars(query))


def record_worker(session: Session, worker: Worker) -> None:
    """Store the state of a worker that is alive."""
    session.merge(
        WorkerRow(
            name=worker.name,
            device=worker.device,
            started_at=worker.started_at,
            seen_at=worker.seen_at,
            task_id=worker.task_id,
            done=worker.done,
            rss_bytes=worker.rss_bytes,
        )
    )


def workers(session: Session) -> list[Worker]:
    """All workers that have not been deleted, by name; no limit."""
    return [
        Worker(
            name=row.name,
            device=row.device,
            started_at=row.started_at,
            seen_at=row.seen_at,
            task_id=row.task_id,
            done=row.done,
            rss_bytes=row.rss_bytes,
        )
        for row in session.scalars(select(WorkerRow).order_by(WorkerRow.name))
    ]


def forget_workers(session: Session, names: Iterable[str]) -> None:
    """Delete workers that have ended."""
    session.execute(delete(WorkerRow).where(WorkerRow.name.in_(list(names))))


def forget_tasks(session: Session, before: datetime) -> int:
    """Delete the tasks that ended before a time, with their worker deaths.

    Returns the number of deleted tasks.
    """
    old = select(TaskRow.id).where(TaskRow.finished_at < before, TaskRow.status.not_in(OPEN))
    session.execute(delete(DeathRow).where(DeathRow.task_id.in_(old)))
    return row_count(session.execute(delete(TaskRow).where(TaskRow.id.in_(old))))


def _one(result: Any) -> bool:
    return row_count(result) == 1


def _task(row: TaskRow) -> Task:
    return Task(
        id=row.id,
        kind=row.kind,
        arguments=row.arguments,
        status=TaskStatus(row.status),
        attempt=row.attempt,
        size=row.size,
        worker=row.worker,
        beats=row.beats,
        step=row.step,
        in_hand=tuple(row.in_hand),
        not_before=row.not_before,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        detail=row.detail,
        result=row.result,
    )
