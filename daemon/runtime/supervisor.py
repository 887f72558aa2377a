"""Keeps workers alive and notices when one is not: processes that ended, signs of life that stopped, steps that do not move.

The daemon's own workers are started again with a wait that doubles while they keep dying. Tasks are watched wherever their worker
runs; only the daemon that has the clock does that.
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
class Child:
    """One place for a worker of this daemon."""

    process: "subprocess.Popen[bytes] | None" = None
    name: str = ""
    started: float = 0.0
    not_before: float = 0.0
    deaths: int = 0  # in a row


@dataclass
class Watched:
    """The last signs of a task that runs."""

    beats: Watch = field(default_factory=Watch)
    step: Watch = field(default_factory=Watch)
    whole: Watch = field(default_factory=Watch)


class Supervisor:
    """The workers of one daemon, and the tasks of all."""

    def __init__(self, app: App, config_path: Path, restarts: Counter) -> None:
        self.app, self.config_path, self.restarts = app, config_path, restarts
        self.children = [Child() for _ in range(app.config.worker.count)]
        self.watched: dict[int, Watched] = {}

    def turn(self, *, leads: bool) -> None:
        """One look at everything. Raises: StoreError: the database is away; the next turn sees what this one missed."""
        for child in self.children:
            self._see_to(child)
        if leads:
            self._watch_tasks()

    def _see_to(self, child: Child) -> None:
        process = child.process
        if process is not None and process.poll() is None:
            return
        if process is not None:
            self._mourn(child, process.returncode)
        if time.monotonic() >= child.not_before:
            self._start(child)

    def _start(self, child: Child) -> None:
        command = [sys.executable, "-m", "factd.daemon.cli.main", "--config", str(self.config_path)]
        own = ["worker", "--parent", str(os.getpid())]
        child.process = subprocess.Popen([*command, *own], stdin=subprocess.DEVNULL)
        child.name = (
            f"{leases.machine()}:{child.process.pid}:{leases.start_ticks(child.process.pid)}"
        )
        child.started = time.monotonic()

    def _mourn(self, child: Child, code: int) -> None:
        cause = "killed" if code < 0 else "memory" if code == MEMORY else "exit"
        lived = time.monotonic() - child.started
        child.deaths = 0 if code == 0 or lived > HEALTHY_SECONDS else child.deaths + 1
        wait = worker_deaths.back_off(self.app.config.worker, child.deaths)
        child.not_before, child.process = time.monotonic() + wait, None
        if code != 0:
            self.restarts.labels(cause).inc()
            log.error("worker ended", code=code, cause=cause, again_in_seconds=round(wait, 1))
        with self.app.ledger.begin() as session:
            held = [t for t in operations.tasks.open_tasks(session) if _runs_at(t, child.name)]
            operations.tasks.forget_workers(session, [child.name])
        for task in held:
            worker_deaths.bury(self.app, task, cause, f"exit code {code}")

    def _watch_tasks(self) -> None:
        with self.app.ledger.read() as session:
            running = [
                t for t in operations.tasks.open_tasks(session) if t.status is TaskStatus.RUNNING
            ]
        for task in running:
            cause = self._why_dead(task)
            if cause:
                self.restarts.labels(cause).inc()
                self._kill(task)
                worker_deaths.bury(
                    self.app, task, cause, "no sign of life" if cause == "stale" else "too long"
                )
                self.watched.pop(task.id, None)
        self.watched = {t.id: self.watched[t.id] for t in running if t.id in self.watched}

    def _why_dead(self, task: Task) -> str:
        table, seen = self.app.config.worker, self.watched.setdefault(task.id, Watched())
        silent = seen.beats.unchanged_seconds((task.attempt, task.beats))
        stuck = seen.step.unchanged_seconds((task.attempt, task.step))
        if silent > table.stale_seconds or leases.has_ended(task.worker):
            return "stale"
        whole = seen.whole.unchanged_seconds(task.attempt)
        most = timeout_seconds(self.app.config, task.kind)
        return "timeout" if stuck > table.step_timeout_seconds or whole > most else ""

    def _kill(self, task: Task) -> None:
        """A worker of this daemon that is stuck; one elsewhere ends itself when it finds its task taken."""
        for child in self.children:
            if child.name == task.worker and child.process is not None:
                child.process.kill()

    def stop(self) -> None:
        """Ask all to stop, then end those that do not."""
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


def _runs_at(task: Task, worker: str) -> bool:
    return task.status is TaskStatus.RUNNING and task.worker == worker
