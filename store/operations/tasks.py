"""Tasks of workers in the database: added, claimed by one, kept alive, ended; and what killed whom."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import changed
from factd.store.errors import Overtaken
from factd.store.model.operations import Task, TaskStatus, Worker, check_task_move
from factd.store.schema.operations import DeathRow, TaskRow, WorkerRow

OPEN = (TaskStatus.WAITING, TaskStatus.RUNNING)
LONGEST_WAIT = timedelta(hours=1)  # one that is to wait for longer is a clock that jumped


def add_task(
    session: Session,
    kind: str,
    arguments: Mapping[str, Any],
    *,
    now: datetime,
    size: int | None = None,
) -> Task:
    """Work for a worker; where some of its kind is open already, that."""
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
    """One task."""
    return _task(session.get_one(TaskRow, id_, populate_existing=True))


def open_tasks(session: Session) -> list[Task]:
    """Those that wait or run, the oldest first."""
    query = select(TaskRow).where(TaskRow.status.in_(OPEN)).order_by(TaskRow.id)
    return [_task(row) for row in session.scalars(query)]


def last_task(session: Session, kind: str) -> Task | None:
    """The newest of a kind."""
    query = select(TaskRow).where(TaskRow.kind == kind).order_by(TaskRow.id.desc()).limit(1)
    row = session.scalar(query)
    return _task(row) if row else None


def claim(session: Session, worker: str, *, now: datetime) -> Task | None:
    """The oldest task that is due, from now on this worker's; None: there is none, or another was faster."""
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
    """There is a task that a worker may claim."""
    return session.scalar(select(TaskRow.id).where(*_due(now)).limit(1)) is not None


def _due(now: datetime) -> tuple[Any, ...]:
    moment = or_(
        TaskRow.not_before.is_(None),
        TaskRow.not_before <= now,
        TaskRow.not_before > now + LONGEST_WAIT,
    )
    return (TaskRow.status == TaskStatus.WAITING, moment)


def beat(session: Session, held: Task, *, step: str, in_hand: Sequence[str]) -> None:
    """A sign of life, and where the work is. Raises: Overtaken: the task was taken from this worker."""
    values = {"beats": TaskRow.beats + 1, "step": step, "in_hand": list(in_hand)}
    if not _one(session.execute(update(TaskRow).where(*_mine(held)).values(values))):
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
    """How it ended. Raises: Overtaken: the task was taken from this worker."""
    check_task_move(TaskStatus.RUNNING, status)
    values = {"status": status, "detail": detail, "result": dict(result), "finished_at": now}
    if not _one(session.execute(update(TaskRow).where(*_mine(held)).values(values))):
        raise Overtaken(f"task {held.id} was taken from this worker; what it found is not kept")


def wait_again(
    session: Session, held: Task, *, size: int | None, not_before: datetime, detail: str
) -> bool:
    """A task whose worker died waits for another one; False: it was no longer that worker's."""
    values = {
        "status": TaskStatus.WAITING,
        "worker": "",
        "size": size,
        "not_before": not_before,
        "detail": detail,
    }
    return _one(session.execute(update(TaskRow).where(*_mine(held)).values(values)))


def give_up(session: Session, held: Task, detail: str, *, now: datetime) -> bool:
    """A task whose worker died too often has failed; False: it was no longer that worker's."""
    values = {"status": TaskStatus.FAILED, "detail": detail, "finished_at": now}
    return _one(session.execute(update(TaskRow).where(*_mine(held)).values(values)))


def _mine(held: Task) -> tuple[Any, ...]:
    return (
        TaskRow.id == held.id,
        TaskRow.status == TaskStatus.RUNNING,
        TaskRow.worker == held.worker,
        TaskRow.attempt == held.attempt,
    )


def note_death(session: Session, held: Task, cause: str, detail: str, *, now: datetime) -> None:
    """What a worker had in hand when it died or ran out of memory."""
    row = DeathRow(task_id=held.id, cause=cause, in_hand=list(held.in_hand), detail=detail, at=now)
    session.add(row)


def deaths_with(session: Session, fact_id: str, *, limit: int = 200) -> int:
    """How many of the last deaths happened with just this fact in hand."""
    query = select(DeathRow.in_hand).order_by(DeathRow.id.desc()).limit(limit)
    return sum(found == [fact_id] for found in session.scalars(query))


def deaths_of(session: Session, task_id: int) -> int:
    """How many workers a task has killed."""
    query = select(func.count()).select_from(DeathRow).where(DeathRow.task_id == task_id)
    return session.scalar(query) or 0


def seen_worker(session: Session, worker: Worker) -> None:
    """A worker says that it is there."""
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
    """Those that have not gone, by name."""
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
    """They have gone."""
    session.execute(delete(WorkerRow).where(WorkerRow.name.in_(list(names))))


def forget_tasks(session: Session, before: datetime) -> int:
    """Forget what ended before a time, and its deaths; how many tasks."""
    old = select(TaskRow.id).where(TaskRow.finished_at < before, TaskRow.status.not_in(OPEN))
    session.execute(delete(DeathRow).where(DeathRow.task_id.in_(old)))
    done = session.execute(delete(TaskRow).where(TaskRow.id.in_(old)))
    return changed(done)


def _one(done: Any) -> bool:
    return changed(done) == 1


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
