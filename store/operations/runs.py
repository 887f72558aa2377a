"""Runs of jobs: each scheduled run is a row that one daemon takes.

If that daemon dies, a later daemon takes the run over.
"""

from datetime import datetime

from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import require_one_row, row_count
from factd.store.model.releases import Run, RunStatus
from factd.store.schema.releases import RunRow


def start_run(
    session: Session, job: str, scheduled_for: datetime, *, now: datetime, epoch: int = 0
) -> Run | None:
    """Take one scheduled run of a job; None if another daemon has taken it.

    epoch: of the "clock" lease. A run that a daemon with an earlier epoch left running is taken
    over and starts again.
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
        return _take_over(session, job, scheduled_for, epoch, now)
    return _run(row)


def _take_over(
    session: Session, job: str, scheduled_for: datetime, epoch: int, now: datetime
) -> Run | None:
    where = (RunRow.job == job, RunRow.scheduled_for == scheduled_for)
    left_running = (RunRow.status == RunStatus.RUNNING, RunRow.epoch < epoch)
    values = {"epoch": epoch, "attempt": RunRow.attempt + 1, "started_at": now}
    result = session.execute(update(RunRow).where(*where, *left_running).values(values))
    if row_count(result) != 1:
        return None
    return _run(session.scalars(select(RunRow).where(*where)).one())


def finish_run(
    session: Session, run: Run, status: RunStatus, detail: str, *, now: datetime
) -> None:
    """Store how a run ended.

    Raises: StaleState: the run has ended before, or a later daemon has taken it over.
    """
    where = (RunRow.id == run.id, RunRow.status == RunStatus.RUNNING, RunRow.epoch == run.epoch)
    values = {"status": status, "detail": detail, "finished_at": now}
    result = session.execute(update(RunRow).where(*where).values(values))
    require_one_row(result, f"run {run.id} of {run.job} has ended or was taken over")


def last_tick(session: Session, job: str, until: datetime) -> datetime | None:
    """The scheduled time of a job's newest run up to a time; None if there is none."""
    where = (RunRow.job == job, RunRow.scheduled_for <= until)
    query = select(RunRow.scheduled_for).where(*where)
    return session.scalar(query.order_by(RunRow.scheduled_for.desc()).limit(1))


def left_running(session: Session, epoch: int) -> list[Run]:
    """The runs that daemons with an earlier epoch left running, oldest first; no limit."""
    query = select(RunRow).where(RunRow.status == RunStatus.RUNNING, RunRow.epoch < epoch)
    return [_run(row) for row in session.scalars(query.order_by(RunRow.scheduled_for))]


def forget_runs(session: Session, before: datetime) -> int:
    """Delete the runs that ended before a time, except the newest run of each job.

    Returns the number of deleted runs.
    """
    keep = select(func.max(RunRow.id)).group_by(RunRow.job)
    where = (RunRow.finished_at < before, RunRow.id.not_in(keep))
    return row_count(session.execute(delete(RunRow).where(*where)))


def last_runs(session: Session, *, limit: int = 10) -> list[Run]:
    """The runs of all jobs, newest first; at most `limit`."""
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
