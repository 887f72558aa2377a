"""The worker: a process that takes tasks from the store, one at a time, and gives signs of life.

Everything that loads a model is done by a worker. A worker may die at any moment: the supervisor
(daemon/runtime/supervisor.py) sees its signs of life stop, and its task goes to another worker. If
a task is taken from a worker, its process ends at once. If memory runs out, the process gives its
task back and ends too, because only a fresh process has all of the memory again.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from types import FrameType
from typing import NoReturn

import psutil

from factd.daemon import leases
from factd.daemon.app import App, based
from factd.daemon.log import bound, log
from factd.daemon.runtime import worker_deaths
from factd.daemon.tasks import kinds
from factd.daemon.tasks.outcome import TaskOutcome
from factd.daemon.tracing import span
from factd.store import operations
from factd.store.errors import Overtaken, StoreError
from factd.store.model.operations import Task, TaskStatus, Worker

POLL_SECONDS = 0.5  # between looks for a task
IDLE_BEAT_SECONDS = 10.0  # between signs of life while there is no task
OVERTAKEN, MEMORY, ORPHANED = 74, 71, 73  # exit codes


class StopRequested(BaseException):
    """SIGTERM came: the task is left where it is, and counts as no death."""


class Heartbeat:
    """A thread that writes signs of life to the store while a task runs, with step and facts."""

    def __init__(self, app: App, task: Task, describe: Callable[[], Worker]) -> None:
        self.app, self.task, self.describe = app, task, describe
        self.step: tuple[str, tuple[str, ...]] = ("start", ())
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._beats, name="heartbeat", daemon=True)
        self.thread.start()

    def set_step(self, step: str, in_hand: Sequence[str]) -> None:
        """Note the step of the task and the facts in hand.

        A change of the facts in hand is written at once, because the worker may die over them.
        """
        before, self.step = self.step, (step, tuple(in_hand))
        if self.step[1] != before[1] or step.split()[0] != before[0].split()[0]:
            self.beat()

    def beat(self) -> None:
        """Write one sign of life. If the task was taken from this worker, the process ends here."""
        try:
            with self.app.ledger.begin() as session:
                step, in_hand = self.step
                operations.tasks.heartbeat(session, self.task, step=step, in_hand=in_hand)
                operations.tasks.record_worker(session, self.describe())
        except Overtaken as error:
            log.error("task was taken from this worker", task=self.task.id, error=str(error))
            os._exit(OVERTAKEN)
        except StoreError as error:  # the database is away; the next beat may succeed
            log.warning("no sign of life could be given", error=str(error))

    def _beats(self) -> None:
        while not self.done.wait(self.app.config.worker.beat_seconds):
            self.beat()

    def stop(self) -> None:
        """End the thread."""
        self.done.set()
        self.thread.join(timeout=30)


class WorkerProcess:
    """One worker. It runs until SIGTERM, or until it has done `[worker] tasks` tasks."""

    def __init__(self, app: App, *, parent: int | None = None) -> None:
        self.app, self.parent = app, parent
        self.name, self.started, self.done = leases.this_process(), app.ledger.now(), 0
        self.stopping = False
        self.last_seen = -IDLE_BEAT_SECONDS  # when it last wrote to the store, monotonic

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """The first signal asks to stop at the next safe point. The second ends the process."""
        if self.stopping:
            os._exit(1)
        self.stopping = True

    def run(self) -> int:
        """Take and do tasks. Returns the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        if self.parent is not None:
            threading.Thread(target=self._watch_parent, name="parent", daemon=True).start()
        log.info("worker started", pid=os.getpid(), device=self.app.workbench.table.device)
        try:
            while not self.stopping and self.done < self.app.config.worker.tasks:
                if not self.run_next_task():
                    time.sleep(POLL_SECONDS)
        except StopRequested:
            log.info("worker stopped in the middle of a task")
        except MemoryError:
            return MEMORY
        self._leave()
        return 0

    def _watch_parent(self) -> None:
        """End this process when the daemon that started it has ended, however it ended."""
        while os.getppid() == self.parent:
            time.sleep(POLL_SECONDS)
        os._exit(ORPHANED)

    def run_next_task(self) -> bool:
        """Do the task that is due. False if no task is due."""
        now = self.app.ledger.now()
        try:
            with self.app.ledger.read() as session:
                due = operations.tasks.is_due(session, now=now)
            if not due and time.monotonic() - self.last_seen < IDLE_BEAT_SECONDS:
                return False
            with self.app.ledger.begin() as session:
                task = operations.tasks.claim(session, self.name, now=now)
                operations.tasks.record_worker(session, self.describe(task))
            self.last_seen = time.monotonic()
        except StoreError as error:
            log.warning("no task could be looked for", error=str(error))
            return False
        if task is None:
            return False
        self._do(task)
        self.done += 1
        return True

    def describe(self, task: Task | None) -> Worker:
        now: datetime = self.app.ledger.now()
        return Worker(
            name=self.name,
            device=self.app.workbench.table.device,
            started_at=self.started,
            seen_at=now,
            task_id=task.id if task else None,
            done=self.done,
            rss_bytes=psutil.Process().memory_info().rss,
        )

    def _do(self, task: Task) -> None:
        self.app = based(self.app)  # a rebase or rollback may have changed the base
        log.info("task started", task=task.id, kind=task.kind, attempt=task.attempt, size=task.size)
        heartbeat = Heartbeat(self.app, task, lambda: self.describe(task))

        def report_step(step: str, in_hand: Sequence[str]) -> None:
            heartbeat.set_step(step, in_hand)
            if self.stopping:
                raise StopRequested

        try:
            run, parent = task.arguments.get("run"), str(task.arguments.get("traceparent") or "")
            with bound(task=task.id, run=run), span("task", parent=parent, kind=task.kind):
                outcome = kinds.KINDS[task.kind](self.app, task, report_step)
        except StopRequested:
            heartbeat.stop()
            self._put_back(task)
            raise
        except Exception as error:  # a failed task is a row in the store, not a dead worker
            heartbeat.stop()
            if _is_out_of_memory(error):
                self._die_of_memory(heartbeat, error)
            outcome = TaskOutcome(detail=str(error) or type(error).__name__, failed=True)
        heartbeat.stop()
        self._record(task, outcome)

    def _record(self, task: Task, outcome: TaskOutcome) -> None:
        """Record how a task ended. A database that is away for a while is waited for."""
        status = TaskStatus.FAILED if outcome.failed else TaskStatus.DONE
        until = time.monotonic() + self.app.config.worker.stale_seconds
        while True:
            try:
                with self.app.ledger.begin() as session:
                    now = self.app.ledger.now()
                    operations.tasks.end_task(
                        session, task, status, outcome.detail, outcome.result, now=now
                    )
                break
            except StoreError as error:  # the database is away, or full: it may come back in time
                if not error.transient or time.monotonic() > until:
                    raise
                time.sleep(POLL_SECONDS)
        log.info(
            "task ended", task=task.id, kind=task.kind, status=status.value, detail=outcome.detail
        )

    def _put_back(self, task: Task) -> None:
        with self.app.ledger.begin() as session:
            operations.tasks.requeue(
                session,
                task,
                size=task.size,
                not_before=self.app.ledger.now(),
                detail="was stopped",
            )

    def _die_of_memory(self, heartbeat: Heartbeat, error: Exception) -> NoReturn:
        step, in_hand = heartbeat.step
        with self.app.ledger.read() as session:
            task = operations.tasks.task(session, heartbeat.task.id)
        log.error("out of memory", task=task.id, step=step, facts=len(in_hand), error=str(error))
        detail = str(error).splitlines()[0] if str(error) else ""
        worker_deaths.handle_death(self.app, task, worker_deaths.MEMORY, detail)
        raise MemoryError from error

    def _leave(self) -> None:
        try:
            with self.app.ledger.begin() as session:
                operations.tasks.forget_workers(session, [self.name])
        except StoreError as error:
            log.warning("worker left without a word to the store", error=str(error))


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: by Python, CUDA (torch.OutOfMemoryError) or the CPU allocator."""
    by_cuda = type(error).__name__ == "OutOfMemoryError"
    by_allocator = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or by_cuda or by_allocator
