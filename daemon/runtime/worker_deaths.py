"""What happens to a task after its worker died or ran out of memory: retried, or given up.

One death may be chance: the batch is tried again as it was, unless memory ran out. After that the
batch is halved with every death, until the fact that kills the worker is alone in hand. A fact that
has killed its worker twice while alone is set aside, like a fact that fails a gate.
"""

from dataclasses import dataclass
from datetime import timedelta

from factd.daemon.app import App
from factd.daemon.config.run_tables import WorkerTable
from factd.daemon.editing import narrowing
from factd.daemon.log import log
from factd.store import operations
from factd.store.model.operations import Task

LONGEST_WAIT_SECONDS = 60.0
DEATHS_UNTIL_SET_ASIDE = 2  # of workers that had the fact alone in hand
MEMORY = "memory"


@dataclass(frozen=True, kw_only=True)
class RetryPlan:
    """How a task goes on after the death of its worker."""

    size: int | None  # new facts at most; None: as configured
    wait_seconds: float
    gives_up: bool


def plan_retry(task: Task, table: WorkerTable, cause: str) -> RetryPlan:
    """Half of the facts in hand, after a wait that doubles. Given up after `attempts`."""
    size = task.size
    if task.in_hand and (cause == MEMORY or task.attempt > 1):
        size = max(1, len(task.in_hand) // 2)
    wait = back_off_seconds(table, task.attempt)
    return RetryPlan(size=size, wait_seconds=wait, gives_up=task.attempt >= table.attempts)


def back_off_seconds(table: WorkerTable, deaths: int) -> float:
    """The wait after so many deaths in a row: it doubles with each, up to a minute."""
    if not deaths:
        return 0
    doubled: float = table.back_off_seconds * 2 ** min(deaths - 1, 10)
    return min(LONGEST_WAIT_SECONDS, doubled)


def handle_death(app: App, task: Task, cause: str, detail: str) -> None:
    """Record a worker death. Its task waits for another worker, or is given up.

    cause: "memory", "killed", "exit", "stale" or "timeout".
    """
    now, retry = app.ledger.now(), plan_retry(task, app.config.worker, cause)
    message = (
        f"worker {cause} at {task.step or 'start'} with {len(task.in_hand)} facts in hand: {detail}"
    )
    with app.ledger.begin() as session:
        current = operations.tasks.task(session, task.id)
        if (current.status, current.attempt) != (task.status, task.attempt):
            return  # another process has handled this death
        operations.tasks.record_death(session, task, cause, detail, now=now)
        if retry.gives_up:
            operations.tasks.give_up(
                session, task, f"given up after {task.attempt} attempts; {message}", now=now
            )
        else:
            later = now + timedelta(seconds=retry.wait_seconds)
            operations.tasks.requeue(
                session, task, size=retry.size, not_before=later, detail=message
            )
    log.error("worker died over a task", task=task.id, kind=task.kind, cause=cause, detail=detail)
    if len(task.in_hand) == 1:
        _set_aside_if_repeated(app, task, cause)


def _set_aside_if_repeated(app: App, task: Task, cause: str) -> None:
    """Set the only fact in hand aside if it has killed its worker before."""
    fact = task.in_hand[0]
    with app.ledger.read() as session:
        deaths = operations.tasks.deaths_holding_only(session, fact)
    if deaths >= DEATHS_UNTIL_SET_ASIDE:
        reason = (
            f"killed its worker {deaths} times, alone in its batch (last: {cause} at {task.step})"
        )
        narrowing.set_aside(
            app.ledger, {fact: reason}, {fact: {"deaths": deaths, "cause": cause}}, None
        )
