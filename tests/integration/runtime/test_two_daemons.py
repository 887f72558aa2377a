"""Two daemons on one PostgreSQL; the one with the clock is killed or paused repeatedly.

Every tick still runs once, and every release is published once.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.app import open_app
from factd.store import operations, queries
from factd.store.database.session import Store
from factd.store.model.releases import Run, RunStatus
from support.databases import postgresql
from support.terminal import THINGS, Operator, update
from support.world import jsonl

COUNTRIES = ("Germany", "Chile", "Egypt", "Stockholm", "Japan")
LEASE_SECONDS = 2
WAIT_SECONDS = 90


class Pair:
    """Two daemons, each with its own log."""

    def __init__(self, operator: Operator) -> None:
        self.operator, self.logs = operator, list[Path]()
        self.daemons = [self.start() for _ in range(2)]

    def start(self) -> "subprocess.Popen[bytes]":
        path = self.operator.folder / f"log{len(self.logs)}.jsonl"
        self.logs.append(path)
        command = [sys.executable, "-m", "factd.daemon.cli.main", "--config"]
        words = [str(self.operator.folder / "factd.toml"), "--log-json", "run"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        with path.open("w") as log:
            return subprocess.Popen([*command, *words], stderr=log, stdout=log, env=environment)

    def leader(self, store: Store) -> "subprocess.Popen[bytes] | None":
        with store.begin() as session:
            holder = operations.leases.lease(session, "clock", now=datetime.now(UTC)).holder
        return next((d for d in self.daemons if f":{d.pid}:" in holder), None)

    def disturb(self, store: Store, number: int) -> None:
        """Kill the daemon that has the clock, or pause it until the other has the clock."""
        leader = self.leader(store)
        if leader is None:
            return
        if number % 2:
            leader.send_signal(signal.SIGSTOP)
            until = time.monotonic() + WAIT_SECONDS
            while self.leader(store) is leader and time.monotonic() < until:
                time.sleep(0.2)
            leader.send_signal(signal.SIGCONT)
        else:
            leader.kill()
            leader.wait(timeout=WAIT_SECONDS)
            self.daemons[self.daemons.index(leader)] = self.start()

    def stop(self) -> list[int]:
        for daemon in self.daemons:
            daemon.send_signal(signal.SIGCONT)
            daemon.terminate()
        return [daemon.wait(timeout=WAIT_SECONDS) for daemon in self.daemons]

    def said(self, message: str) -> list[dict[str, Any]]:
        lines = [line for log in self.logs for line in log.read_text().splitlines()]
        rows = [json.loads(line) for line in lines if line.startswith("{")]
        return [row for row in rows if row["event"] == message]


@pytest.fixture
def operator(tmp_path: Path, pytestconfig: pytest.Config) -> Iterator[Operator]:
    found = Operator(tmp_path, url=postgresql(pytestconfig))
    path = tmp_path / "factd.toml"
    text = path.read_text().replace(
        "every_seconds = 1\n", 'every_seconds = 1\ncatch_up = "always"\n'
    )
    path.write_text(text.replace("attempts = 12", ""))
    (tmp_path / "inbox").mkdir()
    yield found


def fed(operator: Operator, number: int) -> None:
    thing, day = THINGS[number % len(THINGS)], f"20{10 + number % 80:02}-01-01"
    row = update(thing, COUNTRIES[number % len(COUNTRIES)], day)
    jsonl(operator.folder / "next.part", [row]).rename(
        operator.folder / "inbox" / f"{number}.jsonl"
    )


def pulls(store: Store) -> list[Run]:
    with store.begin() as session:
        found = operations.runs.last_runs(session, limit=100_000)
    return sorted((r for r in found if r.job == "pull"), key=lambda r: r.scheduled_for)


@pytest.mark.parametrize(
    ("ticks", "disturbances"),
    [
        pytest.param(12, 2, id="twelve"),
        pytest.param(200, 20, id="two hundred", marks=pytest.mark.slow),
    ],
)
def test_every_tick_runs_once_and_one_daemon_publishes(
    operator: Operator, ticks: int, disturbances: int
) -> None:
    config = operator.folder / "factd.toml"
    if ticks < 100:  # ticks alone; with workers that publish: the slow one
        config.write_text(config.read_text().replace("[worker]\n", "[worker]\ncount = 0\n"))
    app = open_app(config)
    store, pair = app.ledger.store, Pair(operator)
    done, until = 0, time.monotonic() + 20 * ticks + WAIT_SECONDS
    try:
        while len(pulls(store)) < ticks and time.monotonic() < until:
            if len(pulls(store)) > (done + 1) * ticks // (disturbances + 1):
                pair.disturb(store, done)
                fed(operator, done)
                done += 1
            time.sleep(0.2)
        wait_for_left_runs(pair, store)
    finally:
        codes = pair.stop()
    assert codes == [0, 0]
    assert done >= disturbances - 1
    runs = pulls(store)
    ended = [run for run in runs if run.status is not RunStatus.RUNNING]
    steps = {later.scheduled_for - run.scheduled_for for run, later in pairwise(runs)}
    assert steps == {timedelta(seconds=1)}  # none is missing
    assert len(ended) >= ticks
    counted = Counter(row["run"] for row in pair.said("run ended") if row["job"] == "pull")
    assert {run.id for run in ended} >= set(counted)
    assert set(counted.values()) == {1}  # none was counted by two
    published = Counter(row["release"] for row in pair.said("release live"))
    assert set(published.values()) <= {1}
    with store.begin() as session:
        releases = [r for r in queries.releases.list_releases(session) if r.live_at and r.number]
        writer = operations.leases.lease(session, "writer", now=app.ledger.now())
    moments = [r.live_at for r in sorted(releases, key=lambda r: r.number) if r.live_at]
    assert moments == sorted(moments)
    if releases:
        fence = int((operator.folder / "published" / ".epoch").read_text())
        assert fence <= writer.epoch
    store.close()


def wait_for_left_runs(pair: Pair, store: Store) -> None:
    """Wait until the runs that disturbed daemons left unfinished have been run by others."""
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        with store.begin() as session:
            epoch = operations.leases.lease(session, "clock", now=datetime.now(UTC)).epoch
            left = [r for r in operations.runs.left_running(session, epoch) if r.job == "pull"]
        if not left:
            return
        time.sleep(0.5)
    raise AssertionError(f"still left running: {left}")
