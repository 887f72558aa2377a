"""factd behaves as documented when a disk, the database or the clock fails.

Disks are full or read-only, the database goes away, and the clock jumps.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from factd.daemon import leases
from factd.daemon.app import App, open_app
from factd.daemon.runtime.clock_jumps import ClockJumps
from factd.daemon.runtime.daemon import Daemon
from factd.editor.files.folders import verify_folder
from factd.store import operations, queries
from factd.store.database import migrate
from factd.store.errors import StoreError
from factd.store.model.releases import Run
from support.killed_processes import cycle, exit_code
from support.postgres import Server, binaries
from support.terminal import FEED, Operator
from support.world import jsonl

MIB, FREE_BYTES = 2**20, 300 * 2**10


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A file system of a given size, in memory."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    with suppress(FileNotFoundError):
        if subprocess.run(command, capture_output=True, timeout=30).returncode == 0:
            try:
                yield folder
            finally:
                subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)
            return
    pytest.skip("no file system may be mounted here")


def remount(folder: Path, option: str) -> None:
    """Mount it again. option: "ro" or "rw"."""
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True, timeout=30)


def with_waiting_feed(operator: Operator) -> Path:
    inbox = operator.folder / "inbox"
    inbox.mkdir(exist_ok=True)
    jsonl(inbox / "feed.jsonl", FEED)
    return operator.folder / "factd.toml"


def live(config: Path) -> int | None:
    app = open_app(config)
    with app.ledger.begin() as session:
        found = queries.releases.live_release(session)
    app.ledger.store.close()
    return found.number if found else None


@pytest.mark.slow
def test_a_full_disk_stops_the_edit_and_not_what_serves(tmp_path: Path) -> None:
    """While the disk is full, nothing changes. Once there is space, the next tick goes on."""
    with small_disk(tmp_path / "disk", "64m") as disk:
        operator = Operator(disk / "factd")
        config = with_waiting_feed(operator)
        filler = disk / "filler"
        with suppress(OSError), filler.open("wb") as file:
            for _ in range(64):
                file.write(b"x" * MIB)
        with filler.open("r+b") as file:
            file.truncate(filler.stat().st_size - FREE_BYTES)
        exit_code(cycle, config, kill_after_seconds=8)
        assert not (operator.folder / "published" / "current").exists()
        filler.unlink()
        assert exit_code(cycle, config) == 0
        assert live(config) == 1
        verify_folder(operator.folder / "published" / "current")


def test_a_read_only_state_directory_is_said_and_outlived(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64m") as disk:
        operator = Operator(disk / "factd")
        config = with_waiting_feed(operator)
        app = open_app(config)
        daemon = Daemon(app, config)
        daemon.supervisor.children = []
        app.ledger.store.close()  # an open file would keep its disk writable
        remount(disk, "ro")
        try:
            daemon.run_loop_once()  # a warning, no crash
            assert daemon.held is None
            assert "does not answer" in operator.refused("freeze", "--why", "night")
        finally:
            remount(disk, "rw")
        daemon.run_loop_once()
        assert daemon.held is not None
        daemon.run_due(daemon.jobs["pull"])
        with app.ledger.begin() as session:
            (run,) = operations.runs.last_runs(session)
        assert run.detail == "1 files, 2 new, 0 bad lines"
        daemon.held.give_back()
        app.ledger.store.close()


@pytest.mark.parametrize(
    "seconds", [pytest.param(1, id="second"), pytest.param(60, id="minute", marks=pytest.mark.slow)]
)
def test_a_database_that_is_away_for_a_while_is_waited_for(tmp_path: Path, seconds: int) -> None:
    folder = binaries()
    if folder is None:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    server = Server(folder)
    operator = Operator(tmp_path / "factd", url=server.new())
    config = with_waiting_feed(operator)
    app = open_app(config)
    daemon = Daemon(app, config)
    daemon.supervisor.children = []
    try:
        daemon.run_loop_once()
        assert daemon.leads()
        server.pause()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            daemon.run_loop_once()
            daemon.run_due(daemon.jobs["pull"])
            assert daemon.not_live() is None
            assert daemon.not_ready() is not None
            time.sleep(0.5)
        server.resume()
        daemon.run_loop_once()
        assert daemon.not_ready() is None
        daemon.run_due(daemon.jobs["pull"])
        with app.ledger.begin() as session:
            details = [run.detail for run in operations.runs.last_runs(session)]
        assert details == ["1 files, 2 new, 0 bad lines"]
    finally:
        if daemon.held is not None:
            daemon.held.give_back()
        app.ledger.store.close()
        server.stop()


class JumpingClock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


def pulled(app: App) -> list[Run]:
    with app.ledger.begin() as session:
        return [run for run in operations.runs.last_runs(session, limit=1000) if run.job == "pull"]


@pytest.fixture
def jumping(tmp_path: Path) -> Iterator[tuple[Daemon, JumpingClock]]:
    operator, clock = Operator(tmp_path), JumpingClock()
    path = operator.folder / "factd.toml"
    text = path.read_text().replace(
        "[schedule.pull]\nevery_seconds = 1", "[schedule.pull]\nevery_seconds = 3600"
    )
    path.write_text(text)
    app = open_app(path, now=clock)
    daemon = Daemon(app, path)
    daemon.held = app.ledger.lease(operations.leases.CLOCK)
    yield daemon, clock
    daemon.held.give_back()
    app.ledger.store.close()


def test_a_clock_that_jumps_forward_a_day_brings_one_run_and_no_change_of_hands(
    jumping: tuple[Daemon, JumpingClock],
) -> None:
    daemon, clock = jumping
    pull = daemon.jobs["pull"]
    daemon.run_due(pull)
    assert len(pulled(daemon.app)) == 1
    clock.offset = timedelta(days=1)
    for _ in range(3):
        daemon.run_due(pull)
    assert len(pulled(daemon.app)) == 2
    other = leases.LeaseClaim(daemon.app.ledger.store, operations.leases.CLOCK, 15.0, clock)
    assert other.attempt() is None  # leases do not depend on the wall clock
    assert daemon.leads()
    other.give_up()


def test_a_clock_that_jumps_back_a_day_runs_nothing_twice_and_stops_nothing_for_long(
    jumping: tuple[Daemon, JumpingClock],
) -> None:
    daemon, clock = jumping
    pull = daemon.jobs["pull"]
    clock.offset = timedelta(days=-1)
    daemon.run_due(pull)  # yesterday's tick
    clock.offset = timedelta(0)
    daemon.run_due(pull)  # and today's
    assert len(pulled(daemon.app)) == 2
    clock.offset = timedelta(days=-1)
    daemon.run_due(pull)
    assert len(pulled(daemon.app)) == 2  # that tick has been run
    daemon.last_start["pull"] = time.monotonic() - 1.6 * 3600
    daemon.run_due(pull)
    assert len(pulled(daemon.app)) == 3  # one and a half periods by the monotonic clock
    daemon.run_due(pull)
    assert len(pulled(daemon.app)) == 3


def test_a_jump_of_the_clock_is_noticed_once() -> None:
    wall, mono = JumpingClock(), [0.0]
    begun = datetime(2026, 11, 21, 12, tzinfo=UTC)
    jumps = ClockJumps(lambda: begun + wall.offset, lambda: mono[0])
    for _ in range(3):  # both clocks advance by the same time
        mono[0] += 60
        wall.offset += timedelta(seconds=60)
        assert not jumps.has_jumped()
    for jump in (timedelta(days=1), timedelta(days=-1)):
        wall.offset += jump
        assert jumps.has_jumped()
        assert not jumps.has_jumped()


def test_a_state_that_cannot_be_opened_is_one_sentence(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    database = next(operator.folder.glob("state/*.sqlite"), None)
    if database is None:
        pytest.skip("the cycle's database is no file here")
    database.write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(StoreError, match="cannot be used"):
        migrate.check(f"sqlite:///{database}")
    assert "cannot be used: file is not a database" in operator.refused("status")
