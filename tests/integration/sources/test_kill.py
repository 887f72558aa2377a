"""kill -9 at random moments while facts are ingested over HTTP.

Afterwards the store equals that of an uninterrupted run.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from factd.store.database.session import Store
from support.databases import fresh_database
from support.fakes.http import Asked, Fake, Reply, serving
from support.paths import GOLDEN
from support.world import claim

PAGE = 500
TABLE = """
[model]
path = "{model}"
[store]
url = "{url}"
[sources.news]
kind = "http_feed"
url = "{feed}/feed"
allow_networks = ["127.0.0.0/8"]
requests_per_minute = 1e9
max_pages = 1000
volume_factor = 0
"""
CODE = """
import sys
from pathlib import Path
from factd.daemon.app import open_app
from factd.daemon.ingestion.pull import pull
app = open_app(Path(sys.argv[1]))
print("ready", flush=True)
print(pull(app.ledger, app.paths, app.prompts, app.sources, "news").new, flush=True)
"""
SKIPPED = (
    "observed_at",
    "changed_at",
    "retrieved_at",
    "turn",
)  # times, which differ from run to run


def updates(count: int) -> list[Any]:
    """Claims, with repeats, corrections and contradictions among them."""
    rng = random.Random(7)
    rows = []
    for number in range(count):
        subject, day = f"T{rng.randrange(count // 2)}", rng.choice(("2021-01-01", "2022-01-01"))
        rows.append(claim(subject, rng.choice(("EUR", "USD")), day=day, revision=f"{number % 997}"))
    return rows


@pytest.fixture(scope="module")
def pages() -> list[bytes]:
    return []


@pytest.fixture
def server(pages: list[bytes]) -> Iterator[Fake]:
    def answer(asked: Asked) -> Reply:
        return Reply(body=pages[int(asked.query.get("page", "0"))], headers={"ETag": '"1"'})

    with serving(answer) as fake:
        yield fake


def paged(rows: list[Any]) -> list[bytes]:
    starts = range(0, len(rows), PAGE)
    return [
        json.dumps(
            {
                "updates": rows[start : start + PAGE],
                "next": f"/feed?page={number + 1}" if number + 1 < len(starts) else None,
            }
        ).encode()
        for number, start in enumerate(starts)
    ]


def run(config: Path, *, kill_after: float | None = None) -> float | None:
    """Pull once in a process of its own; return its seconds, or None if it was killed early."""
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", CODE, str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        started = time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)
            process.send_signal(signal.SIGKILL)
        ended = process.stdout.read().strip()
        process.wait(timeout=300)
    return time.monotonic() - started if ended else None


def contents(url: str) -> str:
    """A hash of everything that the store holds about facts, names and the source."""
    store = Store(url)
    parts = list[Any]()
    with store.begin() as session:
        for table, extra in (("facts", ()), ("entities", ()), ("bad_lines", ("id", "at"))):
            rows = session.execute(text(f"SELECT * FROM {table}")).mappings()
            skipped = (*SKIPPED, *extra)  # a rolled back transaction may have used up numbers
            cut = [{k: str(v) for k, v in row.items() if k not in skipped} for row in rows]
            parts.append(sorted(json.dumps(row, sort_keys=True) for row in cut))
        parts.append(session.execute(text("SELECT cursor FROM sources")).scalars().all())
        parts.append(session.execute(text("SELECT sum(claims) FROM source_days")).scalar())
    store.close()
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def config(folder: Path, url: str, feed: str) -> Path:
    path = folder / "factd.toml"
    path.write_text(TABLE.format(model=GOLDEN / "llama" / "model", url=url, feed=feed))
    return path


@pytest.mark.parametrize(
    ("count", "kills"),
    [
        pytest.param(2_000, 3, id="few"),
        pytest.param(20_000, 50, id="fifty", marks=pytest.mark.slow),
    ],
)
@pytest.mark.case(
    "http_feed",
    "kill -9 at random moments of ingesting 20,000 updates",
    "the store equals that of an uninterrupted run",
)
def test_kill_9_neither_loses_nor_doubles_a_fact(
    count: int, kills: int, backend: str, pages: list[bytes], server: Fake, tmp_path: Path
) -> None:  # fmt: skip
    pages[:] = paged(updates(count))

    folders = [tmp_path / name for name in ("whole", "broken")]
    for folder in folders:
        folder.mkdir()
    whole, broken = (fresh_database(backend, folder) for folder in folders)
    seconds = run(config(tmp_path / "whole", whole, server.url))
    assert seconds is not None
    rng, path = random.Random(kills), config(tmp_path / "broken", broken, server.url)
    for _ in range(kills):  # on average six tenths of the work are done at the last kill
        assert run(path, kill_after=rng.uniform(0, 1.2 * seconds / kills)) is None
    assert run(path) is not None
    assert contents(broken) == contents(whole)
