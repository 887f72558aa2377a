"""Lives of factd in processes of their own, that end by SIGKILL at a status change that a test names."""

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
class Kill:
    """A status change of a table, and whether the end comes just before or just after it is written for good."""

    table: str
    before: str
    after: str
    when: str

    def arm(self) -> None:
        """From now on this process is killed there."""
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


def lived(
    life: Callable[[Path], None], config: Path, kill: Kill | None = None, *, ends_after: float = 0
) -> int:
    """The exit code of a life. ends_after: seconds after which it is killed, wherever it is."""
    process = PROCESSES.Process(target=_live, args=(life, config, kill))
    process.start()
    process.join(timeout=ends_after or SECONDS)
    if process.is_alive():
        process.kill()
        process.join(timeout=SECONDS)
        if ends_after:
            return KILLED
        raise TimeoutError(f"{life.__name__} took longer than {SECONDS} s")
    assert process.exitcode is not None
    return process.exitcode


def _live(life: Callable[[Path], None], config: Path, kill: Kill | None) -> None:
    if kill is not None:
        kill.arm()
    life(config)


def cycle(config: Path) -> None:
    """A daemon that has the clock, and a worker: one pull, one edit."""
    from factd.daemon.app import open_app
    from factd.daemon.runtime.daemon import Daemon
    from factd.daemon.runtime.worker import WorkerProcess
    from factd.store import operations

    app = open_app(config)
    daemon, worker, over = Daemon(app, config), WorkerProcess(app), threading.Event()
    daemon.supervisor.children = []  # the worker is a thread of this process: both die at once
    daemon.held = app.ledger.lease(operations.leases.CLOCK)

    def works() -> None:
        while not over.wait(0.02):
            daemon.supervisor.turn(leads=True)
            worker._turn()

    thread = threading.Thread(target=works, daemon=True)
    thread.start()
    for name in ("pull", "cycle"):
        daemon.look(daemon.jobs[name])
    until = time.monotonic() + SECONDS
    while open_tasks(app) and time.monotonic() < until:  # that a worker which died gave back
        time.sleep(0.1)
    over.set()
    thread.join(timeout=SECONDS)
    daemon.held.give_back()
    app.ledger.store.close()


def open_tasks(app: Any) -> list[Any]:
    """What still waits or runs."""
    from factd.store import operations

    with app.ledger.begin() as session:
        return operations.tasks.open_tasks(session)


def roll_back(config: Path) -> None:
    """Back to the base, and from there to the release again."""
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
    """Whoever brings releases to servers does so once."""
    from factd.daemon.app import open_app
    from factd.daemon.rollout import outbox

    os.chdir(config.parent)
    app = open_app(config)
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    app.ledger.store.close()


def roll_back_and_hand_over(config: Path) -> None:
    """Back to the base and to the release again, before anybody got the first; then whoever hands over does so."""
    from factd.daemon.app import open_app
    from factd.daemon.rollout import outbox

    app = open_app(config)
    outbox.plan_handovers(app.ledger, app.versions, app.fleet)
    app.ledger.store.close()
    roll_back(config)
    hand_over(config)


def stop_in_the_middle(config: Path) -> None:
    """A worker that is asked to stop while it edits, and puts its task back."""
    from factd.daemon.app import open_app
    from factd.daemon.runtime.worker import Stopping, WorkerProcess

    app = open_app(config)
    worker = WorkerProcess(app)
    worker.stopping = True
    with suppress(Stopping):
        worker._turn()
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
    """Everything that must not depend on whether somebody was killed on the way."""
    app = open_app(folder / "factd.toml")
    with app.ledger.begin() as session:
        live = queries.releases.live_release(session)
        assert not queries.releases.releases_in(session, ReleaseStatus.PUBLISHING)
        facts = queries.facts.list_facts(session, limit=1000)
        tasks = operations.tasks.open_tasks(session)
        given = [h.release for h in operations.handovers.open_handovers(session)]
        states = operations.handovers.states(session).values()
    app.ledger.store.close()
    current = folder / "published" / "current"
    whole = current.exists() and verify_folder(current)
    return {
        "live": live.fact_ids if live else None,
        "published": sha256_file(current / "model.safetensors") if whole else None,
        "facts": sorted((f.id, f.status.value) for f in facts),
        "open": [(t.kind, t.status.value) for t in tasks],
        "given": given,
        "serves": [one.release for one in states],
        "served": [path.read_text() for path in folder.glob("served")],
        "inbox": sorted(p.parent.name for p in (folder / "inbox").glob("*/*.jsonl")),
    }


def copied(template: Path, folder: Path) -> Path:
    """A state in another place; SQLite files and all."""
    shutil.copytree(template, folder, symlinks=True)
    return folder / "factd.toml"
