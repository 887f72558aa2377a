"""Runs programs of factd in processes of their own and kills them with SIGKILL.

The kill comes at a status change that a test names.
"""

import multiprocessing
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session

from factd.daemon.app import open_app
from factd.editor.files.folders import sha256_file, verify_folder
from factd.store import operations, queries
from factd.store.model.releases import ReleaseStatus

SECONDS = 120
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "factd.daemon.runtime.worker",
        "factd.daemon.runtime.daemon",
        "factd.editor.methods.memit",
        "factd.editor.exams.report",
    ]
)
KILLED = -signal.SIGKILL


@dataclass(frozen=True, kw_only=True)
class KillPoint:
    """A status change, and whether the process is killed just before or just after its commit."""

    table: str
    before: str  # status
    after: str  # status
    when: str  # "before" or "after"

    def arm(self) -> None:
        """Let this process be killed when it comes to this point."""
        due = threading.Event()

        def look(_: Connection, __: Any, statement: str, parameters: Any, *rest: Any) -> None:
            values = list(parameters.values() if isinstance(parameters, Mapping) else parameters)
            changes = statement.startswith(f"UPDATE {self.table} SET") and "status=" in statement
            if changes and self.after in values and self.before in values:
                due.set()

        def end(_: Any) -> None:
            if due.is_set():
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", look)
        if self.when == "before":
            event.listen(Engine, "commit", end)
        else:
            event.listen(Session, "after_commit", end)


def exit_code(
    program: Callable[[Path], None],
    config: Path,
    kill: KillPoint | None = None,
    *,
    kill_after_seconds: float = 0,
) -> int:
    """Run a program in a process of its own. Returns its exit code.

    kill_after_seconds: the time after which it is killed wherever it is; 0: it is a failure if the
    program takes too long.
    """
    process = PROCESSES.Process(target=_run, args=(program, config, kill))
    process.start()
    process.join(timeout=kill_after_seconds or SECONDS)
    if process.is_alive():
        process.kill()
        process.join(timeout=SECONDS)
        if kill_after_seconds:
            return KILLED
        raise TimeoutError(f"{program.__name__} took longer than {SECONDS} s")
    assert process.exitcode is not None
    return process.exitcode


def _run(program: Callable[[Path], None], config: Path, kill: KillPoint | None) -> None:
    if kill is not None:
        kill.arm()
    program(config)


def cycle(config: Path) -> None:
    """One pull and one edit, by a daemon that has the clock and a worker in the same process."""
    from factd.daemon.app import open_app
    from factd.daemon.runtime.daemon import Daemon
    from factd.daemon.runtime.worker import WorkerProcess
    from factd.store import operations

    app = open_app(config)
    daemon, worker, over = Daemon(app, config), WorkerProcess(app), threading.Event()
    daemon.supervisor.children = []  # the worker is a thread of this process: both die at once
    daemon.held = app.ledger.lease(operations.leases.CLOCK)

    def run_worker() -> None:
        while not over.wait(0.02):
            daemon.supervisor.check(leads=True)
            worker.run_next_task()

    thread = threading.Thread(target=run_worker, daemon=True)
    thread.start()
    for name in ("pull", "cycle"):
        daemon.run_due(daemon.jobs[name])
    until = time.monotonic() + SECONDS
    while open_tasks(app) and time.monotonic() < until:  # tasks that a dead worker gave back
        time.sleep(0.1)
    over.set()
    thread.join(timeout=SECONDS)
    daemon.held.give_back()
    app.ledger.store.close()


def open_tasks(app: Any) -> list[Any]:
    """The tasks that still wait or run."""
    from factd.store import operations

    with app.ledger.begin() as session:
        return operations.tasks.open_tasks(session)


def roll_back(config: Path) -> None:
    """Roll back to the base model, then publish release 1 again."""
    from factd.daemon.app import open_app, writing
    from factd.daemon.publishing import publish
    from factd.store import queries

    app = open_app(config)
    with writing(app, seize=True) as own:
        publish.roll_back_to(
            own.ledger, own.paths, own.versions, own.fleet, 0, who="test", why="test"
        )
        with own.ledger.begin() as session:
            queries.releases.unfreeze(session, who="test", now=own.ledger.now())
        publish.publish(own.ledger, own.paths, own.versions, own.fleet, own.config.approvals, 1)
    app.ledger.store.close()


def hand_over(config: Path) -> None:
    """Hand over once what is due at the servers."""
    from factd.daemon.app import open_app
    from factd.daemon.rollout import outbox

    os.chdir(config.parent)
    app = open_app(config)
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    app.ledger.store.close()


def roll_back_and_hand_over(config: Path) -> None:
    """Roll back and publish again before a server got the first release, then hand over."""
    from factd.daemon.app import open_app
    from factd.daemon.rollout import outbox

    app = open_app(config)
    outbox.plan_handovers(app.ledger, app.versions, app.fleet)
    app.ledger.store.close()
    roll_back(config)
    hand_over(config)


def stop_in_the_middle(config: Path) -> None:
    """A worker that is asked to stop during an edit, and puts its task back."""
    from factd.daemon.app import open_app
    from factd.daemon.runtime.worker import StopRequested, WorkerProcess

    app = open_app(config)
    worker = WorkerProcess(app)
    worker.stopping = True
    with suppress(StopRequested):
        worker.run_next_task()
    app.ledger.store.close()


def refuse(config: Path) -> None:
    """An operator refuses release 1."""
    from factd.daemon.app import open_app
    from factd.daemon.approvals import decisions
    from factd.daemon.errors import Refused

    app = open_app(config)
    with suppress(Refused):
        decisions.refuse(app.ledger, 1, who="test", why="test")
    app.ledger.store.close()


def state(folder: Path) -> dict[str, Any]:
    """The state that must be the same whether or not a process was killed on the way."""
    app = open_app(folder / "factd.toml")
    with app.ledger.begin() as session:
        live = queries.releases.live_release(session)
        assert not queries.releases.releases_with_status(session, ReleaseStatus.PUBLISHING)
        facts = queries.facts.list_facts(session, limit=1000)
        tasks = operations.tasks.open_tasks(session)
        given = [h.release for h in operations.handovers.list_open(session)]
        states = operations.handovers.server_states(session).values()
    app.ledger.store.close()
    current = folder / "published" / "current"
    is_complete = current.exists() and verify_folder(current)
    return {
        "live": live.fact_ids if live else None,
        "published": sha256_file(current / "model.safetensors") if is_complete else None,
        "facts": sorted((f.id, f.status.value) for f in facts),
        "open": [(t.kind, t.status.value) for t in tasks],
        "given": given,
        "serves": [one.release for one in states],
        "served": [path.read_text() for path in folder.glob("served")],
        "inbox": sorted(p.parent.name for p in (folder / "inbox").glob("*/*.jsonl")),
    }


def copy_state(template: Path, folder: Path) -> Path:
    """Copy a folder of factd with its SQLite file. Returns the path of its configuration."""
    shutil.copytree(template, folder, symlinks=True)
    return folder / "factd.toml"
