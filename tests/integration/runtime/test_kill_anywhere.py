"""The cycle ends in the same live release when kill -9 hits a process at random moments.

The process is the daemon or its worker.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factd.daemon.app import open_app
from factd.store import operations
from support.killed_processes import copy_state, state
from support.terminal import FEED, Operator
from support.world import jsonl

SECONDS = 120


def started(config: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "factd.daemon.cli.main", "--config", str(config), "run"]
    with (config.parent / "log").open("a") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment)


def worker_of(daemon: "subprocess.Popen[bytes]") -> int | None:
    path = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children")
    children = path.read_text().split() if path.exists() else []
    return int(children[0]) if children else None


def is_live(config: Path) -> bool:
    """Whether a release is published and no task is left."""
    app = open_app(config)
    with app.ledger.begin() as session:
        left = operations.tasks.open_tasks(session)
    current = app.versions.current()
    app.ledger.store.close()
    return bool(current) and not left


def finished(config: Path, daemon: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + SECONDS
    while not is_live(config) and time.monotonic() < until:
        time.sleep(0.2)
    daemon.terminate()
    code = daemon.wait(
        timeout=SECONDS
    )  # -SIGTERM: it had just been started, and had no handler yet
    assert code in (0, -signal.SIGTERM), (config.parent / "log").read_text()[-3000:]


@pytest.mark.parametrize(
    ("rounds", "kills"),
    [
        pytest.param(1, 3, id="three", marks=pytest.mark.slow),
        pytest.param(10, 10, id="hundred", marks=pytest.mark.slow),
    ],
)
def test_killed_anywhere_factd_ends_where_it_would_have(
    rounds: int, kills: int, tmp_path: Path
) -> None:
    template = tmp_path / "template"
    operator = Operator(template)
    (template / "inbox").mkdir()
    jsonl(operator.folder / "inbox" / "feed.jsonl", FEED)
    whole = copy_state(template, tmp_path / "whole")
    begun = time.monotonic()
    finished(whole, started(whole))
    seconds, wanted = time.monotonic() - begun, state(whole.parent)
    rng = random.Random(rounds)
    for round_ in range(rounds):
        config = copy_state(template, tmp_path / f"round{round_}")
        daemon = started(config)
        for _ in range(kills):
            time.sleep(rng.uniform(0, seconds))
            worker = worker_of(daemon) if rng.random() < 0.5 else None
            if worker is None:
                daemon.kill()
                daemon.wait(timeout=SECONDS)
                daemon = started(config)
            else:
                os.kill(worker, signal.SIGKILL)
        finished(config, daemon)
        assert state(config.parent) == wanted
