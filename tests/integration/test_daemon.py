"""The daemon in this process: every tick is a row, a failed job is a row and not a dead daemon, metrics say what happened."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import jsonl
from people import FEED, Operator
from prometheus_client.exposition import generate_latest

from daemon.bootstrap import open_factd
from daemon.loop import Daemon
from daemon.sources import drop_folder
from store import migrate, release_queries
from store.releases import RunStatus


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    operator = Operator(tmp_path)
    path = operator.folder / "factd.toml"
    frozen_clock = datetime(2026, 11, 21, 12, 0, 30, tzinfo=UTC)
    found = Daemon(open_factd(path, now=lambda: frozen_clock), path)
    yield found
    found.factd.store.close()


def inbox_of(daemon: Daemon) -> Path:
    settings = daemon.factd.sources["drop_folder"].settings
    assert isinstance(settings, drop_folder.Settings)
    settings.path.mkdir()
    return settings.path


def runs(daemon: Daemon) -> dict[str, tuple[RunStatus, str]]:
    with daemon.factd.store.begin() as session:
        return {run.job: (run.status, run.detail) for run in release_queries.last_runs(session)}


def test_a_tick_is_recorded_once_and_counted(daemon: Daemon) -> None:
    inbox = inbox_of(daemon)
    jsonl(inbox / "x.jsonl", [*FEED, b"{x"])
    daemon.tick("pull", 60, daemon.pull)
    daemon.tick("pull", 60, daemon.pull)  # the same minute
    assert runs(daemon) == {"pull": (RunStatus.DONE, "1 files, 2 new, 1 bad lines")}
    text = generate_latest(daemon.metrics.registry).decode()
    assert 'factd_runs_total{status="done",step="pull"} 1.0' in text
    assert 'factd_lines_total{outcome="new"} 2.0' in text
    assert 'factd_facts{status="pending"} 2.0' in text
    assert "factd_frozen 0.0" in text


def test_a_job_that_fails_is_a_row(daemon: Daemon) -> None:
    def broken() -> str:
        raise ValueError("no such thing")

    daemon.tick("cycle", 60, broken)
    assert runs(daemon) == {"cycle": (RunStatus.FAILED, "no such thing")}
    assert (
        'factd_runs_total{status="failed",step="cycle"} 1.0'
        in generate_latest(daemon.metrics.registry).decode()
    )


def test_a_cycle_without_news_does_nothing(daemon: Daemon) -> None:
    assert daemon.cycle() == "nothing to do"


def test_the_base_alone_needs_no_audit(daemon: Daemon) -> None:
    assert daemon.audit() == "nothing to do"


def test_the_live_release_is_audited_in_a_process_of_its_own(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    operator.ingest(FEED)
    operator("edit", "--publish")
    path = operator.folder / "factd.toml"
    daemon = Daemon(open_factd(path), path)
    assert daemon.audit() == "release 1: passed; nothing to do"
    text = generate_latest(daemon.metrics.registry).decode()
    assert 'factd_audits{outcome="passed"} 1.0' in text
    assert 'factd_live_measurement{check="efficacy",language="en",metric="generation"}' in text
    daemon.factd.store.close()


def test_a_frozen_cycle_waits_and_says_why(daemon: Daemon) -> None:
    with daemon.factd.store.begin() as session:
        release_queries.freeze(session, why="night", who="test", now=daemon.factd.now())
    inbox = inbox_of(daemon)
    jsonl(inbox / "x.jsonl", FEED)
    daemon.pull()
    daemon.tick("cycle", 60, daemon.cycle)
    assert runs(daemon)["cycle"] == (RunStatus.DONE, "waits: frozen by test: night")


def test_the_loop_turns_answers_and_stops(daemon: Daemon) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        assert daemon.not_live() is None
        daemon.run(ticks=2)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert set(runs(daemon)) == {"pull", "cycle", "audit"}
    daemon.beat -= 1000
    assert "silent" in str(daemon.not_live())
    assert daemon.not_ready() is None


def test_a_database_without_its_schema_is_not_ready(daemon: Daemon) -> None:
    daemon.factd.store.close()
    migrate.downgrade(daemon.factd.config.database, "base")
    assert "factd db upgrade" in str(daemon.not_ready())
