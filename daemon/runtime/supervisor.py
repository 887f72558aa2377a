"""Keeps workers running, and notices dead ones.

A worker is dead if its process ended, its signs of life stopped, or its task stays at one step for
too long. The daemon's own workers are started again, with a wait that doubles while they keep
dying. Tasks are watched on whichever machine their worker runs; only the daemon that has the clock
does that.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import Counter

from factd.daemon import leases
from factd.daemon.app import App
from factd.daemon.leases import Watch
from factd.daemon.log import log
from factd.daemon.runtime import worker_deaths
from factd.daemon.runtime.jobs import timeout_seconds
from factd.daemon.runtime.worker import MEMORY
from factd.store import operations
from factd.store.model.operations import Task, TaskStatus

HEALTHY_SECONDS = 600.0  # after which a worker's earlier deaths do not count
STOP_SECONDS = 10.0  # for a worker to leave its task at a safe point


@dataclass
class ChildWorker:
    """A worker that this daemon keeps running: its present process, if any, and its deaths."""

    process: "subprocess.Popen[bytes] | None" = None
    name: str = ""
    started: float = 0.0
    not_before: float = 0.0
    deaths: int = 0  # in a row


@dataclass
class TaskActivity:
    """How long the signs of life, the step and the attempt of a running task are unchanged."""

    beats: Watch = field(default_factory=Watch)
    step: Watch = field(default_factory=Watch)
    attempt: Watch = field(default_factory=Watch)


class Supervisor:
    """Watches the workers of this daemon, and the tasks of all workers."""

    def __init__(self, app: App, config_path: Path, restarts: Counter) -> None:
        self.app, self.config_path, self.restarts = app, config_path, restarts
        self.children = [ChildWorker() for _ in range(app.config.worker.count)]
        self.activity: dict[int, TaskActivity] = {}

    def check(self, *, leads: bool) -> None:
        """Start and watch workers once. leads: this daemon has the clock, so it also watches tasks.

        Raises: StoreError: the database is away. The next call finds what this one missed.
        """
        for child in self.children:
            self._keep_running(child)
        if leads:
            self._watch_tasks()

    def _keep_running(self, child: ChildWorker) -> None:
        process = child.process
        if process is not None and process.poll() is None:
            return
        if process is not None:
            self._note_exit(child, process.returncode)
        if time.monotonic() >= child.not_before:
            self._start(child)

    def _start(self, child: ChildWorker) -> None:
        command = [sys.executable, "-m", "factd.daemon.cli.main", "--config", str(self.config_path)]
        own = ["worker", "--parent", str(os.getpid())]
        child.process = subprocess.Popen([*command, *own], stdin=subprocess.DEVNULL)
        child.name = (
            f"{leases.machine()}:{child.process.pid}:{leases.start_ticks(child.process.pid)}"
        )
        child.started = time.monotonic()

    def _note_exit(self, child: ChildWorker, code: int) -> None:
        cause = "killed" if code < 0 else "memory" if code == MEMORY else "exit"
        lived = time.monotonic() - child.started
        child.deaths = 0 if code == 0 or lived > HEALTHY_SECONDS else child.deaths + 1
        wait = worker_deaths.back_off_seconds(self.app.config.worker, child.deaths)
        child.not_before, child.process = time.monotonic() + wait, None
        if code != 0:
            self.restarts.labels(cause).inc()
            log.error("worker ended", code=code, cause=cause, again_in_seconds=round(wait, 1))
        with self.app.ledger.begin() as session:
            held = [t for t in operations.tasks.open_tasks(session) if _runs_on(t, child.name)]
            operations.tasks.forget_workers(session, [child.name])
        for task in held:
            worker_deaths.handle_death(self.app, task, cause, f"exit code {code}")

    def _watch_tasks(self) -> None:
        with self.app.ledger.read() as session:
            running = [
                t for t in operations.tasks.open_tasks(session) if t.status is TaskStatus.RUNNING
            ]
        for task in running:
            cause = self._cause_of_death(task)
            if cause:
                self.restarts.labels(cause).inc()
                self._kill(task)
                detail = "no sign of life" if cause == "stale" else "too long"
                worker_deaths.handle_death(self.app, task, cause, detail)
                self.activity.pop(task.id, None)
        self.activity = {t.id: self.activity[t.id] for t in running if t.id in self.activity}

    def _cause_of_death(self, task: Task) -> str:
        """Why the worker of a task counts as dead: `stale` or `timeout`; empty if it is alive."""
        table = self.app.config.worker
        activity = self.activity.setdefault(task.id, TaskActivity())
        silent_seconds = activity.beats.unchanged_seconds((task.attempt, task.beats))
        stuck_seconds = activity.step.unchanged_seconds((task.attempt, task.step))
        if silent_seconds > table.stale_seconds or leases.has_ended(task.worker):
            return "stale"
        attempt_seconds = activity.attempt.unchanged_seconds(task.attempt)
        most_seconds = timeout_seconds(self.app.config, task.kind)
        too_long = stuck_seconds > table.step_timeout_seconds or attempt_seconds > most_seconds
        return "timeout" if too_long else ""

    def _kill(self, task: Task) -> None:
        """Kill the worker of a task if it is a child of this daemon.

        A worker elsewhere ends itself when it finds that its task was taken.
        """
        for child in self.children:
            if child.name == task.worker and child.process is not None:
                child.process.kill()

    def stop(self) -> None:
        """Ask all workers to stop, then kill those that do not."""
        alive = [
            c.process for c in self.children if c.process is not None and c.process.poll() is None
        ]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        until = time.monotonic() + STOP_SECONDS
        for process in alive:
            try:
                process.wait(timeout=max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=STOP_SECONDS)
        for child in self.children:
            child.process = None


def _runs_on(task: Task, worker: str) -> bool:
    return task.status is TaskStatus.RUNNING and task.worker == worker
