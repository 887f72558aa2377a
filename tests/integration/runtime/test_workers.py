"""Workers: they take tasks and may die at any time. A fact that kills two of them is set aside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter
from sqlalchemy import update
from sqlalchemy.orm import Session

from factd.daemon.app import App, open_app
from factd.daemon.config.run_tables import WorkerTable
from factd.daemon.errors import Busy
from factd.daemon.runtime import worker_deaths
from factd.daemon.runtime.jobs import Unfinished, WorkerTasks
from factd.daemon.runtime.supervisor import Supervisor
from factd.daemon.runtime.worker import MEMORY, Heartbeat, WorkerProcess
from factd.daemon.tasks import kinds
from factd.daemon.tasks.outcome import ReportStep, TaskOutcome
from factd.store import operations, queries
from factd.store.database.session import Store
from factd.store.errors import Overtaken, StoreError
from factd.store.model.facts import Fact, FactStatus
from factd.store.model.operations import Task, TaskStatus
from factd.store.schema.operations import TaskRow
from support.terminal import FEED, Operator
from support.world import NOW, at

SECONDS = 120


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    yield Operator(tmp_path)


@pytest.fixture
def app(operator: Operator) -> Iterator[App]:
    found = open_app(operator.folder / "factd.toml")
    yield found
    found.ledger.store.close()


def add_task(app: App, kind: str = "edit") -> int:
    with app.ledger.begin() as session:
        return operations.tasks.add_task(session, kind, {}, now=app.ledger.now()).id


def task(app: App, id_: int) -> Task:
    with app.ledger.begin() as session:
        return operations.tasks.task(session, id_)


def one_task(app: App) -> int:
    """Run one task in this process. Returns the exit code, or -1 if no task was due."""
    worker = WorkerProcess(app)
    try:
        return 0 if worker.run_next_task() else -1
    except MemoryError:
        return MEMORY


def claimed(app: App) -> Task:
    """A task claimed by a worker that does nothing."""
    with app.ledger.begin() as session:
        found = operations.tasks.claim(session, "elsewhere/1/2:7:9", now=app.ledger.now())
    assert found is not None
    return found


def test_work_of_a_kind_is_asked_for_once(store: Store) -> None:
    with store.begin() as session:
        first = operations.tasks.add_task(session, "edit", {}, now=NOW)
        assert operations.tasks.add_task(session, "edit", {}, now=NOW).id == first.id
        assert operations.tasks.add_task(session, "audit", {}, now=NOW).id != first.id


def test_a_task_is_claimed_by_one_and_taken_from_it_for_good(store: Store) -> None:
    with store.begin() as session:
        made = operations.tasks.add_task(session, "edit", {}, now=NOW)
        held = operations.tasks.claim(session, "one", now=NOW)
        assert held is not None
        assert operations.tasks.claim(session, "two", now=NOW) is None
        operations.tasks.heartbeat(session, held, step="plan", in_hand=["f"])
        assert operations.tasks.requeue(session, held, size=3, not_before=NOW, detail="died")
        with pytest.raises(Overtaken):
            operations.tasks.heartbeat(session, held, step="edit", in_hand=[])
        with pytest.raises(Overtaken):
            operations.tasks.end_task(session, held, TaskStatus.DONE, "", {}, now=NOW)
        again = operations.tasks.claim(session, "two", now=NOW)
        assert again is not None
        assert (again.id, again.attempt, again.size) == (made.id, 2, 3)


def test_a_worker_edits_publishes_and_says_so(operator: Operator, app: App) -> None:
    operator.ingest(FEED)
    id_ = add_task(app)
    assert one_task(app) == 0
    done = task(app, id_)
    assert (done.status, done.detail) == (TaskStatus.DONE, "release 1 is live")
    assert operator("status")["live"]["number"] == 1
    add_task(app, "audit")
    assert one_task(app) == 0
    add_task(app)
    assert one_task(app) == 0
    with app.ledger.begin() as session:
        assert operations.tasks.last_task(session, "edit").detail == "nothing to do"  # type: ignore[union-attr]
        assert operations.tasks.last_task(session, "audit").detail.startswith("release 1: passed")  # type: ignore[union-attr]


def test_a_worker_is_seen_while_it_works_and_writes_little_while_it_does_not(
    operator: Operator, app: App
) -> None:
    worker = WorkerProcess(app)
    assert not worker.run_next_task()  # its first sign of life
    later = at(app, lambda: app.ledger.now() + timedelta(minutes=5))
    worker.app = later
    assert not worker.run_next_task()  # nothing to do, and it gave a sign of life a moment ago
    with app.ledger.begin() as session:
        (idle,) = operations.tasks.workers(session)
        assert idle.seen_at < later.ledger.now() - timedelta(minutes=4)
        operations.tasks.add_task(session, "statistics", {}, now=app.ledger.now())
        held = operations.tasks.claim(session, worker.name, now=app.ledger.now())
    assert held is not None
    heartbeat = Heartbeat(later, held, lambda: worker.describe(held))
    heartbeat.beat()
    heartbeat.stop()
    with app.ledger.begin() as session:
        (working,) = operations.tasks.workers(session)
    assert working.seen_at > later.ledger.now() - timedelta(minutes=1)
    assert working.task_id == held.id


def test_statistics_are_built_by_a_worker(operator: Operator, app: App) -> None:
    id_ = add_task(app, "statistics")
    assert one_task(app) == 0
    assert "tokens" in task(app, id_).detail


def test_a_task_that_fails_is_a_row_and_the_worker_lives(operator: Operator, app: App) -> None:
    operator.ingest(FEED)
    (operator.folder / "published").write_text("in the way")
    id_ = add_task(app)
    assert one_task(app) == 0
    assert task(app, id_).status is TaskStatus.FAILED
    (operator.folder / "published").unlink()
    id_ = add_task(app)
    assert one_task(app) == 0
    assert task(app, id_).detail.endswith("is live")


def test_a_batch_that_kills_is_halved_until_its_fact_is_alone_and_set_aside(
    operator: Operator, app: App
) -> None:
    operator.ingest(FEED)
    with app.ledger.begin() as session:
        pending = [f.id for f in _pending(session)]
    killer, other = pending[-1], pending[0]
    id_, sizes = add_task(app), []
    for _ in range(20):
        held = claimed(app)
        sizes.append(held.size)
        in_hand = pending if held.size is None else pending[-held.size :]
        with app.ledger.begin() as session:
            operations.tasks.heartbeat(session, held, step="values 0/2", in_hand=in_hand)
        worker_deaths.handle_death(app, task(app, id_), "killed", "exit code -9")
        _due_now(app, id_)
        with app.ledger.begin() as session:
            if queries.evidence.list_quarantine(session):
                break
    assert sizes == [None, None, 1, 1]
    with app.ledger.begin() as session:
        (aside,) = queries.evidence.list_quarantine(session)
    assert aside.fact_id == killer
    assert "killed its worker 2 times" in aside.reason
    assert one_task(app) == 0
    with app.ledger.begin() as session:
        live = queries.releases.live_release(session)
    assert live is not None
    assert live.fact_ids == (other,)


def _pending(session: Session) -> list[Fact]:
    return list(queries.facts.by_priority(session, FactStatus.PENDING))


def _due_now(app: App, id_: int) -> None:
    """Make a waiting task due now."""
    with app.ledger.begin() as session:
        session.execute(update(TaskRow).where(TaskRow.id == id_).values(not_before=None))


def test_out_of_memory_ends_the_worker_and_halves_the_batch(operator: Operator, app: App) -> None:
    operator.ingest(FEED)
    (app.config.root / "edit-fails").touch()

    def hungry(_: App, held: Task, report_step: ReportStep) -> TaskOutcome:
        report_step("values 0/2", ("a", "b", "c", "d"))
        raise MemoryError("4 GiB wanted")

    id_, real = add_task(app), kinds.KINDS
    try:
        kinds.KINDS = {**real, "edit": hungry}
        assert one_task(app) == MEMORY
    finally:
        kinds.KINDS = real
    found = task(app, id_)
    assert (found.status, found.size) == (TaskStatus.WAITING, 2)
    assert "memory at values 0/2 with 4 facts in hand" in found.detail


def test_a_batch_that_was_made_small_grows_again(operator: Operator, app: App) -> None:
    id_ = add_task(app)
    held = claimed(app)
    with app.ledger.begin() as session:
        operations.tasks.requeue(session, held, size=4, not_before=app.ledger.now(), detail="")
    held = claimed(app)
    with app.ledger.begin() as session:
        operations.tasks.end_task(session, held, TaskStatus.DONE, "", {}, now=app.ledger.now())
    with pytest.raises(Unfinished):
        WorkerTasks(app, lambda: False).run_and_wait("edit")
    with app.ledger.begin() as session:
        (made,) = operations.tasks.open_tasks(session)
    assert made.id != id_
    assert made.size == 8


def test_a_task_that_no_worker_takes_is_said_to_wait_for_one(operator: Operator, app: App) -> None:
    cycle = app.config.schedule.cycle.model_copy(update={"timeout_seconds": 0.2})
    schedule = app.config.schedule.model_copy(update={"cycle": cycle})
    config = app.config.model_copy(update={"schedule": schedule})
    with pytest.raises(Busy, match="no worker took task 1"):
        WorkerTasks(replace(app, config=config), lambda: True).run_and_wait("edit")


def test_a_task_is_given_up_after_its_attempts_and_waits_twice_as_long_each_time() -> None:
    def died(attempt: int, in_hand: tuple[str, ...] = ()) -> Task:
        return Task(
            id=1,
            kind="edit",
            arguments={},
            status=TaskStatus.RUNNING,
            attempt=attempt,
            size=None,
            worker="w",
            beats=0,
            step="",
            in_hand=in_hand,
            not_before=None,
            created_at=NOW,
            started_at=NOW,
            finished_at=None,
            detail="",
        )

    table = WorkerTable(attempts=4, back_off_seconds=1)
    follows = [worker_deaths.plan_retry(died(attempt), table, "killed") for attempt in (1, 2, 3, 4)]
    assert [f.wait_seconds for f in follows] == [1, 2, 4, 8]
    assert [f.gives_up for f in follows] == [False, False, False, True]
    assert [worker_deaths.back_off_seconds(table, n) for n in (0, 1, 3, 10_000)] == [0, 1, 4, 60]
    three = ("a", "b", "c")
    assert (
        worker_deaths.plan_retry(died(1, three), table, "killed").size is None
    )  # one death may be chance
    assert worker_deaths.plan_retry(died(2, three), table, "killed").size == 1
    assert worker_deaths.plan_retry(died(1, three), table, "memory").size == 1
    assert worker_deaths.plan_retry(died(30), WorkerTable(attempts=99), "stale").wait_seconds == 60


def supervisor(app: App) -> Supervisor:
    restarts = Counter("ends", "Ends.", ["cause"], registry=CollectorRegistry())
    return Supervisor(app, app.config.root / "factd.toml", restarts)


def paused_outside_a_transaction(worker: "subprocess.Popen[bytes]", app: App) -> None:
    """Pause a worker with SIGSTOP while it does not hold SQLite's lock.

    A paused worker that holds the lock would stop every writer.
    """
    for _ in range(20):
        worker.send_signal(signal.SIGSTOP)
        try:
            with app.ledger.begin():
                return
        except StoreError:
            worker.send_signal(signal.SIGCONT)
            time.sleep(0.05)
    raise AssertionError("the worker always holds the lock")


def check_until(found: Supervisor, reached: object) -> None:
    until = time.monotonic() + SECONDS
    while not reached():  # type: ignore[operator]
        assert time.monotonic() < until
        found.check(leads=True)
        time.sleep(0.1)


def test_a_killed_worker_is_replaced_and_its_task_done_by_the_next(
    operator: Operator, app: App
) -> None:
    operator.ingest(FEED)
    id_, found = add_task(app), supervisor(app)
    try:
        check_until(found, lambda: task(app, id_).step.startswith(("plan", "edit", "values")))
        first = found.children[0].process
        assert first is not None
        first.send_signal(signal.SIGKILL)
        check_until(found, lambda: task(app, id_).status is TaskStatus.DONE)
        assert found.children[0].process is not first
    finally:
        found.stop()
    assert task(app, id_).attempt == 2
    assert operator("status")["live"]["number"] == 1


@pytest.mark.slow
def test_a_worker_that_is_stopped_counts_as_dead_and_comes_back_to_nothing(
    operator: Operator, app: App
) -> None:
    """SIGSTOP stops a worker's signs of life, and another worker takes its task.

    The stopped worker ends itself when it wakes.
    """
    path = operator.folder / "factd.toml"
    path.write_text(path.read_text().replace("stale_seconds = 20", "stale_seconds = 2"))
    operator.ingest(FEED)
    quick = open_app(path)
    id_, found = add_task(quick), supervisor(quick)
    command = [sys.executable, "-m", "factd.daemon.cli.main", "--config", str(path), "worker"]
    with (operator.folder / "log").open("w") as log:
        elsewhere = subprocess.Popen(command, stderr=log)
    try:
        until = time.monotonic() + SECONDS
        while task(quick, id_).status is TaskStatus.WAITING and time.monotonic() < until:
            time.sleep(0.05)
        paused_outside_a_transaction(elsewhere, quick)
        check_until(found, lambda: task(quick, id_).status is TaskStatus.DONE)
        elsewhere.send_signal(signal.SIGCONT)
        assert elsewhere.wait(timeout=SECONDS) == 74
    finally:
        if elsewhere.poll() is None:
            elsewhere.kill()
            elsewhere.wait(timeout=SECONDS)
        found.stop()
        quick.ledger.store.close()
    assert "was taken from this worker" in (operator.folder / "log").read_text()
    assert operator("status")["live"]["number"] == 1


def test_a_worker_ends_with_the_daemon_that_started_it(operator: Operator) -> None:
    path = str(operator.folder / "factd.toml")
    code = (
        "import os, subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-m', 'factd.daemon.cli.main', "
        "'--config', sys.argv[1], "
        "'worker', '--parent', str(os.getpid())])\n"
        "print(p.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code, path],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait(timeout=SECONDS)
    until = time.monotonic() + SECONDS
    while Path(f"/proc/{child}").exists() and time.monotonic() < until:
        state = Path(f"/proc/{child}/stat").read_text().split(")")[-1].split()[0]
        if state == "Z":
            break
        time.sleep(0.1)
    else:
        assert not Path(f"/proc/{child}").exists()
    assert os.getpid() != child
