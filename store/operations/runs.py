"""Ticks of jobs in the database: each is a row, taken by one daemon, and by a later one where that died."""

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import changed, swapped
from factd.store.model.releases import Run, RunStatus
from factd.store.schema.releases import RunRow


def start_run(
    session: Session, job: str, scheduled_for: datetime, *, now: datetime, epoch: int = 0
) -> Run | None:
    """Take one tick of a job; None where somebody has it already.

    epoch: of the clock's lease. What a daemon with an earlier one left running is taken from it, and run again.
    """
    row = RunRow(
        job=job,
        scheduled_for=scheduled_for,
        started_at=now,
        finished_at=None,
        status=RunStatus.RUNNING,
        detail="",
        epoch=epoch,
        attempt=1,
    )
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return _taken_over(session, job, scheduled_for, epoch, now)
    return _run(row)


def _taken_over(
    session: Session, job: str, scheduled_for: datetime, epoch: int, now: datetime
) -> Run | None:
    where = (RunRow.job == job, RunRow.scheduled_for == scheduled_for)
    left = (RunRow.status == RunStatus.RUNNING, RunRow.epoch < epoch)
    values = {"epoch": epoch, "attempt": RunRow.attempt + 1, "started_at": now}
    done = session.execute(update(RunRow).where(*where, *left).values(values))
    if changed(done) != 1:
        return None
    return _run(session.scalars(select(RunRow).where(*where)).one())


def finish_run(
    session: Session, run: Run, status: RunStatus, detail: str, *, now: datetime
) -> None:
    """Record how a run ended. Raises: StaleState: it had ended before, or a later daemon has taken it over."""
    where = (RunRow.id == run.id, RunRow.status == RunStatus.RUNNING, RunRow.epoch == run.epoch)
    values = {"status": status, "detail": detail, "finished_at": now}
    done = session.execute(update(RunRow).where(*where).values(values))
    swapped(done, f"run {run.id} of {run.job} has ended or was taken over")


def last_tick(session: Session, job: str, until: datetime) -> datetime | None:
    """The newest tick of a job, up to a time, that somebody took."""
    where = (RunRow.job == job, RunRow.scheduled_for <= until)
    query = select(RunRow.scheduled_for).where(*where)
    return session.scalar(query.order_by(RunRow.scheduled_for.desc()).limit(1))


def left_running(session: Session, epoch: int) -> list[Run]:
    """The runs that daemons with an earlier epoch left, the oldest first."""
    query = select(RunRow).where(RunRow.status == RunStatus.RUNNING, RunRow.epoch < epoch)
    return [_run(row) for row in session.scalars(query.order_by(RunRow.scheduled_for))]


def forget_runs(session: Session, before: datetime) -> int:
    """Forget runs that ended before a time, but for the last of each job; how many."""
    keep = select(func.max(RunRow.id)).group_by(RunRow.job)
    where = (RunRow.finished_at < before, RunRow.id.not_in(keep))
    done = session.execute(delete(RunRow).where(*where))
    return changed(done)


def last_runs(session: Session, *, limit: int = 10) -> list[Run]:
    """The newest first."""
    return [
        _run(row) for row in session.scalars(select(RunRow).order_by(RunRow.id.desc()).limit(limit))
    ]


def _run(row: RunRow) -> Run:
    return Run(
        id=row.id,
        job=row.job,
        scheduled_for=row.scheduled_for,
        started_at=row.started_at,
        finished_at=row.finished_at,
        status=RunStatus(row.status),
        detail=row.detail,
        epoch=row.epoch,
        attempt=row.attempt,
    )
