"""The console and `factd status` on a full store: a million facts, ten thousand releases with long lists.

    factd bench console [--facts 1000000] [--releases 10000] [--url postgresql://…] [--json]

The rows are inserted as they are, not ingested, for what is measured is how fast they are found again: every page and every
list of the API through the real port, and `factd status`, its own work in a fresh process and the whole process with
Python's start. Each is asked some times; the median counts, the first answer is given beside it.
"""

import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from sqlalchemy import insert, text

from bench.measure import document, timed
from daemon.bootstrap import Factd, build
from daemon.config import load_config, masked
from daemon.http import Health
from daemon.web.accounts import hashed
from daemon.web.app import console
from store import account_queries, migrate
from store.chunks import chunks
from store.facts import FactStatus
from store.names import folded
from store.operations import Role
from store.releases import CandidateStatus, ReleaseStatus, RunStatus
from store.schema import (
    AuditRow,
    Base,
    CandidateRow,
    EntityRow,
    FactRow,
    NameRow,
    ReleaseRow,
    RunRow,
)
from store.session import Store

LANGUAGES = ("en", "es", "fr")
RELATIONS = ("P35", "P36", "P38", "P169", "P54", "P26")
START = datetime(2026, 1, 1, tzinfo=UTC)
CHUNK = 5000
HELD = 1000  # facts of a release
FACT = "9e3779b97f4a7c15"  # the id of fact 1
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
PATHS = (
    "/",
    *(f"/facts{given}" for given in FILTERS),
    f"/facts/{FACT}",
    "/candidates",
    "/candidates/5000",
    "/releases",
    "/releases/5000",
    "/audit",
    "/api/v1/overview",
    *(f"/api/v1/facts{given}" for given in FILTERS),
    f"/api/v1/facts/{FACT}",
    "/api/v1/candidates?limit=200",
    "/api/v1/candidates/5000",
    "/api/v1/releases?limit=200",
    "/api/v1/releases/5000",
    "/api/v1/audit?limit=200",
)
STATUSES = {  # share of the facts, the rest superseded
    FactStatus.KNOWN: 0.3,
    FactStatus.PENDING: 0.1,
    FactStatus.ACTIVE: 0.001,
    FactStatus.SOAKING: 0.02,
    FactStatus.REJECTED: 0.001,
    FactStatus.EXPIRED: 0.1,
}


TABLE = '[model]\npath = "model"\n[store]\nurl = "{url}"\n'
TIMES = 15
PROCESSES = 5
PASSWORD = "a password for a benchmark"
OWN_WORK = """
import sys, time
from pathlib import Path
from daemon.bootstrap import open_factd
from daemon.overview import overview
started = time.perf_counter()
overview(open_factd(Path(sys.argv[1])))
print((time.perf_counter() - started) * 1000, "torch" in sys.modules)
"""


def run(*, facts: int = 1_000_000, releases: int = 10_000, url: str = "") -> dict[str, Any]:
    """The table. url: an empty database; SQLite in a temporary folder where none is given."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "factd.toml"
        path.write_text(TABLE.format(url=url))
        config = load_config(path)
        migrate.upgrade(config.database)
        factd = build(config)
        with timed() as clock:
            fill(factd.store, facts=facts, releases=releases)
        rows = [*_status(path), *_asked(factd)]
        dialect = factd.store.engine.dialect.name
        factd.store.close()
    slowest = max(row["median ms"] for row in rows if "whole process" not in row["asked"])
    more = {"database": dialect, "url": masked(url), "facts": facts, "releases": releases}
    filled = {"facts of a release": HELD, "seconds to fill": round(clock.seconds, 1)}
    return document("console", "cpu", rows, **more, **filled, **{"slowest median ms": slowest})


def _row(name: str, found: list[float], **more: Any) -> dict[str, Any]:
    times = {"median ms": median(found), "first ms": found[0], "worst ms": max(found)}
    return {"asked": name, **{k: round(v, 1) for k, v in times.items()}, **more}


def _status(path: Path) -> list[dict[str, Any]]:
    """`factd status` in processes of its own: what it does itself, and with Python's start and imports."""
    own, whole, processor = list[float](), list[float](), list[float]()
    for _ in range(PROCESSES):
        command = [sys.executable, "-c", OWN_WORK, str(path)]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        assert said[1] == "False", "factd status imported torch"
        own.append(float(said[0]))
        command = [sys.executable, "-m", "daemon.cli", "--config", str(path), "status", "--json"]
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        whole.append((time.perf_counter() - started) * 1000)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        processor.append(seconds * 1000)
    return [
        _row("factd status, its own work in a fresh process", own),
        _row("factd status, the whole process", whole),
        _row("factd status, the whole process, processor time", processor),
    ]


def _asked(factd: Factd) -> list[dict[str, Any]]:
    """Every page and list, through the daemon's port, by somebody who is logged in."""
    with factd.store.begin() as session:
        account_queries.add_account(
            session, "bench", Role.OPERATE, hashed(PASSWORD), now=factd.now()
        )
    probes: dict[str, Any] = {"live": str, "ready": str, "hooks": {}}
    health = Health("127.0.0.1", 0, CollectorRegistry(), **probes, console=console(factd))
    health.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{health.port}", timeout=60) as client:
            given = {"name": "bench", "password": PASSWORD}
            client.post("/api/v1/session", json=given).raise_for_status()
            return [_asked_for(client, path) for path in PATHS]
    finally:
        health.stop()


def _asked_for(client: httpx.Client, path: str) -> dict[str, Any]:
    found = []
    for _ in range(TIMES):
        started = time.perf_counter()
        answer = client.get(path)
        found.append((time.perf_counter() - started) * 1000)
        answer.raise_for_status()
    return _row(path, found, **{"answer KiB": round(len(answer.content) / 1024, 1)})


def fill(store: Store, *, facts: int, releases: int) -> None:
    """A store as it is after years."""
    _insert(store, FactRow, _facts(facts))
    things = [f"S{number}" for number in range(facts // 2)] + [f"O{n}" for n in range(5000)]
    _insert(store, EntityRow, (_entity_row(id_) for id_ in things))
    names = sorted((folded(label), id_) for id_ in things for label in _labels(id_).values())
    _insert(store, NameRow, ({"name": name, "entity_id": id_} for name, id_ in names))
    held = [_id(number) for number in range(HELD)]
    _insert(store, CandidateRow, (_candidate(number, held) for number in range(1, releases + 1)))
    _insert(store, ReleaseRow, (_release(number, held, releases) for number in range(releases + 1)))
    _insert(store, RunRow, (_run(number) for number in range(20_000)))
    _insert(store, AuditRow, (_audit(number) for number in range(20_000)))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        vacuum = store.engine.dialect.name == "postgresql"
        connection.execute(text("VACUUM ANALYZE" if vacuum else "ANALYZE"))


def _insert(store: Store, table: type[Base], rows: Iterator[dict[str, Any]]) -> None:
    for part in chunks(rows, CHUNK * 4):
        with store.begin() as session:
            session.execute(insert(table), part)


def _id(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}"


def _labels(id_: str) -> dict[str, str]:
    return {language: f"{id_} {language}" for language in LANGUAGES}


def _entity(id_: str) -> dict[str, Any]:
    return {"id": id_, "labels": _labels(id_), "aliases": {}}


def _entity_row(id_: str) -> dict[str, Any]:
    labels = {language: {label: START.isoformat()} for language, label in _labels(id_).items()}
    return {"id": id_, "labels": labels, "aliases": {}, "renamed": False}


def _facts(count: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(1)
    statuses, shares = list(STATUSES), list(STATUSES.values())
    for number in range(count):
        who, held = f"S{number // 2}", f"O{rng.randrange(5000)}"
        status = rng.choices([*statuses, FactStatus.SUPERSEDED], [*shares, 1 - sum(shares)])[0]
        at = START - timedelta(minutes=number)
        yield {
            "id": _id(number),
            "source": "bench",
            "revision": str(number),
            "event_time": at,
            "observed_at": at,
            "subject_id": who,
            "subject": _entity(who),
            "relation": RELATIONS[number // 2 % len(RELATIONS)],
            "object_id": held,
            "object": _entity(held),
            "known": status is FactStatus.KNOWN,
            "status": status,
            "reason": "",
            "changed_at": at,
            "channel": "bench",
            "file": "bench.jsonl",
            "line": number,
            "turn": at.timestamp() / 86400,
        }


def _candidate(number: int, held: list[str]) -> dict[str, Any]:
    at = START + timedelta(minutes=30 * number)
    rows = [
        {"check": "efficacy", "metric": "generation", "language": f"l{n}", "value": 0.9}
        for n in range(200)
    ]
    return {
        "id": number,
        "batch_id": f"{number:064x}",
        "fact_ids": held,
        "fact_count": len(held),
        "status": CandidateStatus.ACCEPTED,
        "delta_id": f"{number:064x}",
        "report": {"measurements": rows, "decision": {"accepted": True, "reasons": []}},
        "reasons": [],
        "created_at": at,
        "changed_at": at,
    }


def _release(number: int, held: list[str], last: int) -> dict[str, Any]:
    at = START + timedelta(minutes=30 * number)
    return {
        "number": number,
        "candidate_id": number or None,
        "delta_id": f"{number:064x}",
        "fact_ids": held if number else [],
        "fact_count": len(held) if number else 0,
        "status": ReleaseStatus.LIVE if number == last else ReleaseStatus.RETIRED,
        "who": "bench",
        "why": "edit",
        "created_at": at,
        "live_at": at,
    }


def _run(number: int) -> dict[str, Any]:
    at = START + timedelta(minutes=number)
    return {
        "job": "pull",
        "scheduled_for": at,
        "started_at": at,
        "finished_at": at,
        "status": RunStatus.DONE,
        "detail": "0 files, 0 new, 0 bad lines",
    }


def _audit(number: int) -> dict[str, Any]:
    at = START + timedelta(minutes=number)
    return {"at": at, "who": "bench", "what": f"withdrawn {_id(number)}", "why": "wrong"}
