"""A small invented world: claims, a clock and edits that many tests use."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from factd.daemon.app import App
from factd.daemon.gates.measures import MEASURES
from factd.store import queries

GATES_OFF = "fact_right = 0.0\n" + "".join(f"{name} = false\n" for name in MEASURES)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Maker(Protocol):
    """Makes an application from the given tables of a configuration."""

    def __call__(self, tables: str = "") -> App: ...


class Clock:
    """A clock that only moves when a test advances it."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **more: float) -> None:
        self.time += timedelta(**more)


def at(app: App, now: Callable[[], datetime]) -> App:
    """The application with another clock."""
    return replace(app, ledger=replace(app.ledger, now=now))


def fact_statuses(app: App) -> dict[str, str]:
    """The status of each fact, by "subject object revision"."""
    with app.ledger.begin() as session:
        facts = queries.facts.list_facts(session)
    return {f"{f.subject.id} {f.object.id} {f.update.revision}": f.status.value for f in facts}


def claim(who: str, held: str, /, *, day: str | None = "2023-01-01", **more: Any) -> dict[str, Any]:
    """A fact update in the ingest format, whose labels are its ids."""
    update = {
        "source": "test",
        "revision": f"{who}-{day}",
        "event_time": f"{day or '1998-01-01'}T00:00:00Z",
        "subject": {"id": who, "labels": {"en": who, "es": who}},
        "relation": "P38",
        "object": {"id": held, "labels": {"en": held, "es": held}},
        "valid_from": day,
    }
    return update | more


COUNTRIES = ("Croatia", "Estonia", "Latvia", "Lithuania", "Slovenia", "Slovakia", "Malta", "Greece")
WORDINGS = ("The currency of {} is the", "{} has as its currency the")


def currencies(model: Any, subjects: tuple[str, ...] = COUNTRIES, new: str = "euro") -> list[Any]:
    """Edits of the reference model: new currencies of countries. target_true is its answer today."""
    from factd.editor import Edit
    from factd.editor.scoring.score import greedy_answers

    answers = greedy_answers(model, [WORDINGS[0].format(subject) for subject in subjects])
    return [
        Edit(prompt=WORDINGS[0], subject=subject, target_new=new, target_true=text.rstrip("."))
        for subject, text in zip(subjects, answers, strict=True)
    ]


def jsonl(path: Path, rows: list[Any]) -> Path:
    """Write rows as a JSONL file. A row of bytes is written unchanged."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
