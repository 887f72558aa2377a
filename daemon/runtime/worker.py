"""A process that does everything which loads a model: takes tasks from the store, one at a time, and says that it lives.

It may die at any moment: whoever supervises (daemon/runtime/supervisor.py) sees its signs of life stop, and its task goes to another one.
A task that was taken from it ends this process at once. Out of memory ends it too, with the task given back: only a fresh
process has all of the memory again.
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

LOOK_SECONDS = 0.5  # between looks for a task
SEEN_SECONDS = 10.0  # between its words to the store while there is none
OVERTAKEN, MEMORY, ORPHANED = 74, 71, 73  # exit codes


class Stopping(BaseException):
    """SIGTERM came: leave the task where it is; it is nobody's fault."""


class Pulse:
    """A thread that says, while a task runs, that its worker lives and where it is."""

    def __init__(self, app: App, task: Task, about: Callable[[], Worker]) -> None:
        self.app, self.task, self.about = app, task, about
        self.step: tuple[str, tuple[str, ...]] = ("start", ())
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._beats, name="pulse", daemon=True)
        self.thread.start()

    def tell(self, step: str, in_hand: Sequence[str]) -> None:
        """Where the work is; a change of what is in hand is written at once, for it may be the last word."""
        before, self.step = self.step, (step, tuple(in_hand))
        if self.step[1] != before[1] or step.split()[0] != before[0].split()[0]:
            self.beat()

    def beat(self) -> None:
        """One sign of life. A worker whose task was taken ends here."""
        try:
            with self.app.ledger.begin() as session:
                step, in_hand = self.step
                operations.tasks.heartbeat(session, self.task, step=step, in_hand=in_hand)
                operations.tasks.record_worker(session, self.about())
        except Overtaken as error:
            log.error("task was taken from this worker", task=self.task.id, error=str(error))
            os._exit(OVERTAKEN)
        except StoreError as error:  # the database is away; the next beat may get through
            log.warning("no sign of life could be given", error=str(error))

    def _beats(self) -> None:
        while not self.done.wait(self.app.config.worker.beat_seconds):
            self.beat()

    def stop(self) -> None:
        """No more signs."""
        self.done.set()
        self.thread.join(timeout=30)


class WorkerProcess:
    """One worker, until SIGTERM, or `tasks` tasks are done."""

    def __init__(self, app: App, *, parent: int | None = None) -> None:
        self.app, self.parent = app, parent
        self.name, self.started, self.done = leases.this_process(), app.ledger.now(), 0
        self.stopping, self.shown = False, -SEEN_SECONDS  # when it last said that it is there

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """The first one asks to stop at the next safe point, the second one does not ask."""
        if self.stopping:
            os._exit(1)
        self.stopping = True

    def run(self) -> int:
        """The exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        if self.parent is not None:
            threading.Thread(target=self._watch_parent, name="parent", daemon=True).start()
        log.info("worker started", pid=os.getpid(), device=self.app.workbench.table.device)
        try:
            while not self.stopping and self.done < self.app.config.worker.tasks:
                if not self._turn():
                    time.sleep(LOOK_SECONDS)
        except Stopping:
            log.info("worker stopped in the middle of a task")
        except MemoryError:
            return MEMORY
        self._leave()
        return 0

    def _watch_parent(self) -> None:
        """A worker that a daemon started ends with it, however that ended."""
        while os.getppid() == self.parent:
            time.sleep(LOOK_SECONDS)
        os._exit(ORPHANED)

    def _turn(self) -> bool:
        now = self.app.ledger.now()
        try:
            with self.app.ledger.read() as session:
                due = operations.tasks.is_due(session, now=now)
            if not due and time.monotonic() - self.shown < SEEN_SECONDS:
                return False
            with self.app.ledger.begin() as session:
                task = operations.tasks.claim(session, self.name, now=now)
                operations.tasks.record_worker(session, self._about(task))
            self.shown = time.monotonic()
        except StoreError as error:
            log.warning("no task could be looked for", error=str(error))
            return False
        if task is None:
            return False
        self._do(task)
        self.done += 1
        return True

    def _about(self, task: Task | None) -> Worker:
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
        self.app = based(
            self.app
        )  # a rebase or a rollback since the last task may have led to another
        log.info("task started", task=task.id, kind=task.kind, attempt=task.attempt, size=task.size)
        pulse = Pulse(self.app, task, lambda: self._about(task))

        def tell(step: str, in_hand: Sequence[str]) -> None:
            pulse.tell(step, in_hand)
            if self.stopping:
                raise Stopping

        try:
            run, parent = task.arguments.get("run"), str(task.arguments.get("traceparent") or "")
            with bound(task=task.id, run=run), span("task", parent=parent, kind=task.kind):
                found = kinds.KINDS[task.kind](self.app, task, tell)
        except Stopping:
            pulse.stop()
            self._put_back(task)
            raise
        except (
            Exception
        ) as error:  # the worker's one net: a failed task is a row, not a dead worker
            pulse.stop()
            if _is_memory(error):
                self._out_of_memory(pulse, error)
            found = TaskOutcome(detail=str(error) or type(error).__name__, failed=True)
        pulse.stop()
        self._ended(task, found)

    def _ended(self, task: Task, found: TaskOutcome) -> None:
        status = TaskStatus.FAILED if found.failed else TaskStatus.DONE
        until = time.monotonic() + self.app.config.worker.stale_seconds
        while True:
            try:
                with self.app.ledger.begin() as session:
                    now = self.app.ledger.now()
                    operations.tasks.end_task(
                        session, task, status, found.detail, found.result, now=now
                    )
                break
            except StoreError as error:  # away, or full: it may come back before others notice
                if not error.transient or time.monotonic() > until:
                    raise
                time.sleep(LOOK_SECONDS)
        log.info(
            "task ended", task=task.id, kind=task.kind, status=status.value, detail=found.detail
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

    def _out_of_memory(self, pulse: Pulse, error: Exception) -> NoReturn:
        step, in_hand = pulse.step
        with self.app.ledger.read() as session:
            held = operations.tasks.task(session, pulse.task.id)
        log.error("out of memory", task=held.id, step=step, facts=len(in_hand), error=str(error))
        worker_deaths.bury(
            self.app, held, "memory", str(error).splitlines()[0] if str(error) else ""
        )
        raise MemoryError from error

    def _leave(self) -> None:
        try:
            with self.app.ledger.begin() as session:
                operations.tasks.forget_workers(session, [self.name])
        except StoreError as error:
            log.warning("worker left without a word to the store", error=str(error))


def _is_memory(error: Exception) -> bool:
    """Python's, CUDA's (torch.OutOfMemoryError) and the CPU allocator's way of saying that memory is out."""
    named = type(error).__name__ == "OutOfMemoryError"
    said = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or named or said
