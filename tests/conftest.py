"""Shared pieces: a small invented world in a SQLite file, and the tiny real models of the golden cases."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

from store import migrate, release_queries
from store.catalogue import Catalogue, load_catalogue
from store.fact_queries import Judge
from store.session import Store

GOLDEN = Path(__file__).parent / "data" / "golden"
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def judge(catalogue: Catalogue) -> Judge:
    return Judge(catalogue=catalogue)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'factd.sqlite'}"
    migrate.upgrade(url)
    found = Store(url)
    with found.begin() as session:
        release_queries.ensure_base(session, now=NOW)
    yield found
    found.close()


def claim(who: str, held: str, /, *, day: str | None = "2023-01-01", **more: Any) -> dict[str, Any]:
    """An update in the ingest format; names are the ids."""
    found = {
        "source": "test",
        "revision": f"{who}-{day}",
        "event_time": f"{day or '1998-01-01'}T00:00:00Z",
        "subject": {"id": who, "labels": {"en": who, "es": who}},
        "relation": "P38",
        "object": {"id": held, "labels": {"en": held, "es": held}},
        "valid_from": day,
    }
    return found | more


COUNTRIES = ("Croatia", "Estonia", "Latvia", "Lithuania", "Slovenia", "Slovakia", "Malta", "Greece")
WORDINGS = ("The currency of {} is the", "{} has as its currency the")


def currencies(model: Any, subjects: tuple[str, ...] = COUNTRIES, new: str = "euro") -> list[Any]:
    """Edits of the reference model: what these countries pay with, target_true being what it says today."""
    from editor import Edit
    from editor.score import greedy

    said = greedy(model, [WORDINGS[0].format(subject) for subject in subjects])
    return [
        Edit(prompt=WORDINGS[0], subject=subject, target_new=new, target_true=text.rstrip("."))
        for subject, text in zip(subjects, said, strict=True)
    ]


def jsonl(path: Path, rows: list[Any]) -> Path:
    """Rows as a JSONL file; a bytes row is written as it is."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
