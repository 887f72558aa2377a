"""Work for workers, in the database."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from store.operations import Task, TaskStatus, Worker
from store.operations_schema import TaskRow, WorkerRow

OPEN = (TaskStatus.WAITING, TaskStatus.RUNNING)


def add_task(session: Session, kind: str, arguments: Mapping[str, Any], *, now: datetime) -> Task:
    """Ask for a piece of work."""
    row = TaskRow(
        kind=kind,
        arguments=dict(arguments),
        status=TaskStatus.WAITING,
        attempt=0,
        size=None,
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


def open_tasks(session: Session) -> list[Task]:
    """Those that wait or run, the oldest first."""
    query = select(TaskRow).where(TaskRow.status.in_(OPEN)).order_by(TaskRow.id)
    return [_task(row) for row in session.scalars(query)]


def workers(session: Session) -> list[Worker]:
    """Those that have not gone, by name."""
    query = select(WorkerRow).order_by(WorkerRow.name)
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
        for row in session.scalars(query)
    ]


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
