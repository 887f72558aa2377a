"""The console and `factd status` on a store with a million facts and ten thousand releases.

    factd bench console [--facts 1000000] [--releases 10000] [--url postgresql://…] [--json]

The rows are inserted directly and not ingested, because only reading is measured: every page and
every list of the API through the real port, and `factd status`. Of `factd status`, its own work in
a fresh process is measured, and the whole process with the start of Python. Each is asked several
times; the median counts, and the first answer is given beside it.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from prometheus_client import CollectorRegistry

from factd.bench.measure import document, timed
from factd.bench.operations.filled_store import HELD, fill, id_of
from factd.daemon.app import App, build
from factd.daemon.config.secrets import without_password
from factd.daemon.configuration import load_config
from factd.daemon.status.overview import overview
from factd.daemon.web.app import console
from factd.daemon.web.auth.accounts import hashed
from factd.daemon.web.http import DaemonHttp
from factd.store import operations
from factd.store.database import migrate
from factd.store.model.operations import Role

FACT = id_of(1)
FILTERS = (
    "",
    "?q=S1234",
    "?q=o1",
    f"?q={FACT[:6]}",
    "?status=pending",
    "?status=rejected&relation=P38",
    "?relation=P38",
    "?source=bench",
)
TABLE = '[model]\npath = "model"\n[store]\nurl = "{url}"\n'
TIMES = 15  # requests of each page; `factd status` is run a third as often
PASSWORD = "a password for a benchmark"
OWN_WORK = """
import sys, time
from pathlib import Path
from factd.daemon.app import open_app
from factd.daemon.status.overview import overview
started, before = time.perf_counter(), time.process_time()
app = open_app(Path(sys.argv[1]))
overview(app.ledger, app.versions, app.planning, app.fleet, app.config.approvals)
wall, processor = time.perf_counter() - started, time.process_time() - before
print(wall * 1000, processor * 1000, "torch" in sys.modules)
"""


def paths(middle: int) -> tuple[str, ...]:
    """The paths that are requested. middle: number of a release and candidate in the middle."""
    return (
        "/",
        *(f"/facts{given}" for given in FILTERS),
        f"/facts/{FACT}",
        "/candidates",
        f"/candidates/{middle}",
        "/releases",
        f"/releases/{middle}",
        "/audit",
        "/api/v1/overview",
        *(f"/api/v1/facts{given}" for given in FILTERS),
        f"/api/v1/facts/{FACT}",
        "/api/v1/candidates?limit=200",
        f"/api/v1/candidates/{middle}",
        "/api/v1/releases?limit=200",
        f"/api/v1/releases/{middle}",
        "/api/v1/audit?limit=200",
    )


def run(
    *, facts: int = 1_000_000, releases: int = 10_000, url: str = "", times: int = TIMES
) -> dict[str, Any]:
    """Run the benchmark. Returns its document.

    url: of a database, which is filled if it is empty; by default SQLite in a temporary folder.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "factd.toml"
        path.write_text(TABLE.format(url=url))
        config = load_config(path)
        migrate.upgrade(config.database)
        app = build(config)
        with timed() as clock:
            if not overview(
                app.ledger,
                app.versions,
                app.planning,
                app.fleet,
                app.config.approvals,
            ).facts["pending"]:
                fill(app.ledger.store, facts=facts, releases=releases)
        seen = overview(
            app.ledger,
            app.versions,
            app.planning,
            app.fleet,
            app.config.approvals,
        )
        facts, releases = sum(seen.facts.values()), seen.live.number if seen.live else 0
        rows = [*_status(path, times // 3), *_asked(app, paths((releases + 1) // 2), times)]
        dialect = app.ledger.store.engine.dialect.name
        app.ledger.store.close()
    slowest = max(row["median ms"] for row in rows if "whole process" not in row["asked"])
    more = {
        "load of the machine": round(os.getloadavg()[0], 1),
        "processors": os.cpu_count(),
        "niceness": os.nice(0),
        "database": dialect,
        "url": without_password(url),
        "facts": facts,
        "releases": releases,
    }
    filled = {"facts of a release": HELD, "seconds to fill": round(clock.seconds, 1)}
    return document("console", "cpu", rows, **more, **filled, **{"slowest median ms": slowest})


def _row(name: str, found: list[float], **more: Any) -> dict[str, Any]:
    times = {"median ms": median(found), "first ms": found[0], "worst ms": max(found)}
    return {"asked": name, **{k: round(v, 1) for k, v in times.items()}, **more}


def _status(path: Path, times: int) -> list[dict[str, Any]]:
    """Rows of `factd status` in fresh processes: its own work, and the whole process."""
    own, own_processor = list[float](), list[float]()
    whole, processor = list[float](), list[float]()
    for _ in range(times):
        command = [sys.executable, "-c", OWN_WORK, str(path)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert said[2] == "False", "factd status imported torch"
        own.append(float(said[0]))
        own_processor.append(float(said[1]))
        command = [
            sys.executable,
            "-m",
            "factd.daemon.cli.main",
            "--config",
            str(path),
            "status",
            "--json",
        ]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        whole.append((time.perf_counter() - started) * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        processor.append(seconds * 1000)
    return [
        _row("factd status, its own work in a fresh process", own),
        _row("factd status, its own work, processor time", own_processor),
        _row("factd status, the whole process", whole),
        _row("factd status, the whole process, processor time", processor),
    ]


def _asked(app: App, paths: Sequence[str], times: int) -> list[dict[str, Any]]:
    """Rows of every page and list, requested through the daemon's port by a logged-in user."""
    name = f"bench {time.time_ns()}"
    with app.ledger.begin() as session:
        operations.accounts.add_account(
            session, name, Role.OPERATE, hashed(PASSWORD), now=app.ledger.now()
        )
    probes: dict[str, Any] = {"live": str, "ready": str, "hooks": {}}
    health = DaemonHttp("127.0.0.1", 0, CollectorRegistry(), **probes, console=console(app))
    health.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{health.port}", timeout=60) as client:
            given = {"name": name, "password": PASSWORD}
            client.post("/api/v1/session", json=given).raise_for_status()
            return [_asked_for(client, path, times) for path in paths]
    finally:
        health.stop()


def _asked_for(client: httpx.Client, path: str, times: int) -> dict[str, Any]:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        answer = client.get(path)
        found.append((time.perf_counter() - started) * 1000)
        answer.raise_for_status()
    return _row(path, found, **{"answer KiB": round(len(answer.content) / 1024, 1)})
