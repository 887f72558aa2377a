"""What follows when a worker dies or runs out of memory over a task: again, later, with half as many facts; or not any more.

One death may be chance: the batch is tried again as it was, unless memory ran out. Then it is halved with every death until the
fact that does it is alone in hand. One that has killed its worker twice alone is set aside like a fact that fails a gate.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from factd.daemon.app import App
from factd.daemon.config.run_tables import WorkerTable
from factd.daemon.editing import narrowing
from factd.daemon.log import log
from factd.store import operations
from factd.store.model.operations import Task

LONGEST_SECONDS = 60.0
TWICE = 2
MEMORY = "memory"


@dataclass(frozen=True, kw_only=True)
class Next:
    """What becomes of a task."""

    size: int | None  # new facts at most
    wait_seconds: float
    gives_up: bool


def after_death(task: Task, table: WorkerTable, cause: str) -> Next:
    """Half of what was in hand, after a wait that doubles; nothing more after `attempts`."""
    size = task.size
    if task.in_hand and (cause == MEMORY or task.attempt > 1):
        size = max(1, len(task.in_hand) // 2)
    wait = back_off(table, task.attempt)
    return Next(size=size, wait_seconds=wait, gives_up=task.attempt >= table.attempts)


def back_off(table: WorkerTable, deaths: int) -> float:
    """Seconds to wait after so many deaths in a row: doubled with each, a minute at most; none after none."""
    return min(LONGEST_SECONDS, table.back_off_seconds * 2 ** min(deaths - 1, 10)) if deaths else 0


def bury(app: App, task: Task, cause: str, detail: str) -> None:
    """Note a death, and let the task wait for another worker, or fail."""
    now, follows = app.ledger.now(), after_death(task, app.config.worker, cause)
    said = (
        f"worker {cause} at {task.step or 'start'} with {len(task.in_hand)} facts in hand: {detail}"
    )
    with app.ledger.begin() as session:
        current = operations.tasks.task(session, task.id)
        if (current.status, current.attempt) != (task.status, task.attempt):
            return  # somebody else saw to it
        operations.tasks.record_death(session, task, cause, detail, now=now)
        if follows.gives_up:
            operations.tasks.give_up(
                session, task, f"given up after {task.attempt} attempts; {said}", now=now
            )
        else:
            later = _later(now, follows.wait_seconds)
            operations.tasks.requeue(
                session, task, size=follows.size, not_before=later, detail=said
            )
    log.error("worker died over a task", task=task.id, kind=task.kind, cause=cause, detail=detail)
    if len(task.in_hand) == 1:
        _set_aside(app, task, cause)


def _later(now: datetime, seconds: float) -> datetime:
    return now + timedelta(seconds=seconds)


def _set_aside(app: App, task: Task, cause: str) -> None:
    fact = task.in_hand[0]
    with app.ledger.read() as session:
        deaths = operations.tasks.deaths_holding_only(session, fact)
    if deaths >= TWICE:
        reason = (
            f"killed its worker {deaths} times, alone in its batch (last: {cause} at {task.step})"
        )
        narrowing.set_aside(
            app.ledger, {fact: reason}, {fact: {"deaths": deaths, "cause": cause}}, None
        )
