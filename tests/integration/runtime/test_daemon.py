"""The daemon in this process: ticks become rows, failed jobs do not end it, metrics count both."""

import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.exposition import generate_latest

from factd.daemon import tracing
from factd.daemon.app import open_app
from factd.daemon.config.tables import TracingTable
from factd.daemon.runtime import jobs
from factd.daemon.runtime.daemon import Daemon
from factd.daemon.runtime.worker import WorkerProcess
from factd.daemon.sources import drop_folder
from factd.daemon.tasks.edit import planned_now
from factd.store import operations, queries
from factd.store.database import migrate
from factd.store.model.releases import RunStatus
from support.terminal import FEED, Operator
from support.world import at, jsonl


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    operator = Operator(tmp_path)
    path = operator.folder / "factd.toml"
    frozen_clock = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
    found = Daemon(open_app(path, now=lambda: frozen_clock), path)
    yield found
    found.app.ledger.store.close()


def inbox_of(daemon: Daemon) -> Path:
    settings = daemon.app.sources["drop_folder"].settings
    assert isinstance(settings, drop_folder.Settings)
    settings.path.mkdir()
    return settings.path


def runs(daemon: Daemon) -> dict[str, tuple[RunStatus, str]]:
    with daemon.app.ledger.begin() as session:
        return {run.job: (run.status, run.detail) for run in operations.runs.last_runs(session)}


def tick(daemon: Daemon, name: str, *, work: Callable[[], str] | None = None) -> None:
    """Run a job for the present minute, as the daemon that has the clock does."""
    job = daemon.jobs[name]
    moment = daemon.app.ledger.now().replace(second=0)
    daemon.tick(replace(job, work=work) if work else job, moment, epoch=1)


def test_a_tick_is_recorded_once_and_counted(daemon: Daemon) -> None:
    inbox = inbox_of(daemon)
    jsonl(inbox / "x.jsonl", [*FEED, b"{x"])
    tick(daemon, "pull")
    tick(daemon, "pull")  # the same minute
    assert runs(daemon) == {"pull": (RunStatus.DONE, "1 files, 2 new, 1 bad lines")}
    text = generate_latest(daemon.metrics.registry).decode()
    assert 'factd_runs_total{status="done",step="pull"} 1.0' in text
    assert 'factd_lines_total{outcome="new"} 2.0' in text
    assert 'factd_facts{status="pending"} 2.0' in text
    assert "factd_frozen 0.0" in text


def test_a_job_that_fails_is_a_row(daemon: Daemon) -> None:
    def broken() -> str:
        raise ValueError("no such thing")

    tick(daemon, "cycle", work=broken)
    assert runs(daemon) == {"cycle": (RunStatus.FAILED, "no such thing")}
    assert (
        'factd_runs_total{status="failed",step="cycle"} 1.0'
        in generate_latest(daemon.metrics.registry).decode()
    )


def test_a_run_that_a_daemon_left_is_taken_over_by_a_later_one_and_by_no_other(
    daemon: Daemon,
) -> None:
    def stops() -> str:
        raise jobs.Unfinished

    tick(daemon, "pull", work=stops)
    assert runs(daemon)["pull"] == (RunStatus.RUNNING, "")
    tick(daemon, "pull")  # the same epoch
    assert runs(daemon)["pull"][0] is RunStatus.RUNNING
    moment = daemon.app.ledger.now().replace(second=0)
    assert daemon.due_ticks(daemon.jobs["pull"], 2)[0] == moment
    daemon.tick(daemon.jobs["pull"], moment, epoch=2)
    assert runs(daemon)["pull"] == (RunStatus.DONE, "0 files, 0 new, 0 bad lines")


def test_a_daemon_without_the_clock_runs_nothing(daemon: Daemon) -> None:
    daemon.run_due(daemon.jobs["pull"])
    assert runs(daemon) == {}


def test_a_cycle_without_news_does_nothing(daemon: Daemon) -> None:
    assert daemon.jobs["cycle"].work() == "nothing to do"


def test_an_unattended_edit_plans_once(daemon: Daemon) -> None:
    jsonl(inbox_of(daemon) / "x.jsonl", FEED)
    daemon.jobs["pull"].work()
    daemon.held = daemon.app.ledger.lease(operations.leases.CLOCK)
    worker, exporter = WorkerProcess(daemon.app), InMemorySpanExporter()
    tracing.begin_with(exporter, TracingTable())
    try:
        with ThreadPoolExecutor(1) as threads:
            cycle = threads.submit(daemon.jobs["cycle"].work)
            until = time.monotonic() + 60
            while not worker.run_next_task() and time.monotonic() < until:
                time.sleep(0.05)
            assert cycle.result(timeout=60) == "release 1 is live"
    finally:
        tracing.end()
        daemon.held.give_back()
    names = [span.name for span in exporter.get_finished_spans()]
    assert {name: names.count(name) for name in ("task", "edit", "plan", "solve", "publish")} == {
        "task": 1,
        "edit": 1,
        "plan": 1,
        "solve": 1,
        "publish": 1,
    }


def test_the_base_alone_needs_no_audit(daemon: Daemon) -> None:
    assert daemon.jobs["audit"].work() == "nothing to do"


def test_a_frozen_cycle_waits_and_says_why(daemon: Daemon) -> None:
    with daemon.app.ledger.begin() as session:
        queries.releases.freeze(session, why="night", who="test", now=daemon.app.ledger.now())
    inbox = inbox_of(daemon)
    jsonl(inbox / "x.jsonl", FEED)
    daemon.jobs["pull"].work()
    tick(daemon, "cycle")
    assert runs(daemon)["cycle"] == (RunStatus.DONE, "waits: frozen by test: night")


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("edits_per_day = 1", "the limit of 1 edits a day is reached"),
        ("facts_per_day = 1", "the limit of 1 facts a day is reached"),
        ("publishes_per_day = 1", "the limit of 1 publishes a day is reached"),
    ],
)
def test_a_day_brings_no_more_than_its_limit(tmp_path: Path, limit: str, said: str) -> None:
    operator = Operator(tmp_path)
    path = operator.folder / "factd.toml"
    path.write_text(path.read_text() + f"\n[limits]\n{limit}\n")
    operator.ingest(FEED[:1])
    operator("edit", "--publish")
    operator.ingest(FEED[1:], "more.jsonl")
    app = open_app(path)
    assert said in planned_now(app).closed
    tomorrow = at(app, lambda: datetime.now(UTC) + timedelta(days=1))
    assert planned_now(tomorrow).closed == ""
    app.ledger.store.close()


def test_the_loop_turns_answers_and_stops(daemon: Daemon) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert daemon.not_live() is None
        daemon.run(passes=3)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert set(runs(daemon)) >= {"pull", "cycle", "audit", "prune"}
    with daemon.app.ledger.begin() as session:
        assert operations.leases.lease(session, "clock", now=daemon.app.ledger.now()).holder == ""
    daemon.beat -= 1000
    assert "silent" in str(daemon.not_live())
    assert daemon.not_ready() is None


def test_systemd_is_told_that_it_is_up_alive_and_about_to_stop(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        try:
            daemon.run(passes=2)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        told = [manager.recv(1000).decode().split("\n")[0] for _ in range(4)]
    assert told == ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "STOPPING=1"]


def test_a_database_without_its_schema_is_not_ready(daemon: Daemon) -> None:
    daemon.app.ledger.store.close()
    migrate.downgrade(daemon.app.config.database, "base")
    assert "factd db upgrade" in str(daemon.not_ready())
