"""The speed and memory of ingest into the fact store, and the speed of queries when it is full.

    factd bench store [--facts 1000000] [--url postgresql://…] [--json]

A JSONL file of claims in three languages, one claim a line, is ingested into an empty database by
the code of `factd ingest`. One claim in eight corrects an earlier one. Then each query is run
several times; the median counts.
"""

import json
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from factd.bench.measure import document, timed
from factd.daemon.app import App, build
from factd.daemon.config.secrets import without_password
from factd.daemon.configuration import load_config
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.planning.plan import plan
from factd.daemon.status.fact_explanation import explain_fact
from factd.store import queries
from factd.store.database import migrate
from factd.store.model.facts import FactStatus

TABLE = '[model]\npath = "model"\n[store]\nurl = "{url}"\n'
LANGUAGES = ("en", "es", "fr")
RELATIONS = ("P35", "P36", "P38", "P169", "P54", "P26")
TIMES = 15
SAMPLES = 10  # of memory, in the document


def run(*, facts: int = 1_000_000, url: str = "") -> dict[str, Any]:
    """Run the benchmark. Returns its document.

    url: of an empty database; by default SQLite in a temporary folder.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        app = _fresh(folder, url)
        rows, memory = _ingested(app, folder, facts)
        asked = [_asked(name, query) for name, query in _queries(app).items()]
        with app.ledger.read() as session:
            counts = queries.facts.counts(session)
        dialect = app.ledger.store.engine.dialect.name
        app.ledger.store.close()
    more: dict[str, Any] = {
        "database": dialect,
        "url": without_password(url),
        "facts": facts,
        "updates per minute": round(facts / rows["seconds"] * 60),
        **rows,
        "resident MiB while ingesting": memory,
        "slowest query ms": max(row["median ms"] for row in asked),
        "counts": {k: v for k, v in counts.items() if v},
    }
    return document("store", "cpu", asked, **more)


def _fresh(folder: Path, url: str) -> App:
    (folder / "factd.toml").write_text(TABLE.format(url=url))
    app = build(load_config(folder / "factd.toml"))
    migrate.upgrade(app.config.database)
    return app


def claims(count: int) -> Iterator[dict[str, Any]]:
    """Claims as a source gives them; every eighth corrects the one before it."""
    rng = random.Random(1)
    who, relation = "", ""
    for number in range(count):
        if number % 8 or not who:
            who, relation = f"S{number}", rng.choice(RELATIONS)
        day = f"20{rng.randrange(10, 26)}-0{rng.randrange(1, 10)}-1{rng.randrange(10)}"
        held = f"O{rng.randrange(5000)}"
        yield {
            "source": "bench",
            "revision": str(number),
            "event_time": f"{day}T00:00:00Z",
            "subject": {"id": who, "labels": {k: f"{who} {k}" for k in LANGUAGES}},
            "relation": relation,
            "object": {"id": held, "labels": {k: f"{held} {k}" for k in LANGUAGES}},
            "valid_from": day,
        }


def _ingested(app: App, folder: Path, count: int) -> tuple[dict[str, Any], list[float]]:
    """Ingest the claims. Returns seconds, file size and peak memory, and memory samples in MiB."""
    path = folder / "claims.jsonl"
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in claims(count))
    with sampled_memory() as memory, timed() as clock:
        report = ingest_file(app.ledger, app.prompts, path)
    assert report.malformed == 0
    found = {"seconds": round(clock.seconds, 1), "file MiB": round(path.stat().st_size / 2**20)}
    path.unlink()
    step = max(1, len(memory) // SAMPLES)
    return found | {"peak MiB": max(memory)}, memory[::step]


@contextmanager
def sampled_memory() -> Iterator[list[float]]:
    """Samples of this process's resident memory in MiB, taken twice a second."""
    found, over = [resident_mib()], threading.Event()

    def watch() -> None:
        while not over.wait(0.5):
            found.append(resident_mib())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join(timeout=5)


def resident_mib() -> float:
    """This process's resident memory now, MiB."""
    return round(psutil.Process().memory_info().rss / 2**20, 1)


def _queries(app: App) -> dict[str, Callable[[int], Any]]:
    """The queries of an operator by name. Each takes a number that varies what is asked."""
    with app.ledger.read() as session:
        some = queries.facts.list_facts(session, status=(FactStatus.SUPERSEDED,), limit=TIMES)

    def listed(**more: Any) -> Any:
        with app.ledger.read() as session:
            return queries.facts.list_facts(session, limit=50, **more)

    def waiting() -> Any:
        with app.ledger.read() as session:
            return queries.facts.in_write_order(session, FactStatus.PENDING, limit=50)

    return {
        "facts list": lambda _: listed(),
        "facts list --status pending": lambda _: waiting(),
        "facts list --relation P38": lambda _: listed(relation="P38"),
        "facts list --subject": lambda n: listed(subject=some[n].subject.id),
        "facts explain": lambda n: explain_fact(app.ledger, some[n].id[:10]),
        "plan": lambda _: plan(
            app.ledger,
            app.prompts,
            app.planning,
        ),
    }


def _asked(name: str, query: Callable[[int], Any]) -> dict[str, Any]:
    found = []
    for number in range(TIMES):
        started = time.perf_counter()
        query(number)
        found.append((time.perf_counter() - started) * 1000)
    return {"query": name, "median ms": round(median(found), 1), "worst ms": round(max(found), 1)}
