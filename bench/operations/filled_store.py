"""Fills a store with a million facts and ten thousand releases with long lists.

The rows are inserted directly, not ingested.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, text

from factd.store.database.chunks import chunks
from factd.store.database.session import Store
from factd.store.model.facts import FactStatus
from factd.store.model.names import folded
from factd.store.model.releases import CandidateStatus, ReleaseStatus, RunStatus
from factd.store.schema.facts import EntityRow, FactRow, NameRow, RowBase
from factd.store.schema.releases import AuditLogRow, CandidateRow, ReleaseRow, RunRow

LANGUAGES = ("en", "es", "fr")
RELATIONS = ("P35", "P36", "P38", "P169", "P54", "P26")
START = datetime(2026, 1, 1, tzinfo=UTC)
ROWS = 20_000  # per insert
HELD = 1000  # facts of every release
STATUSES = {  # status -> share of the facts; the others are superseded
    FactStatus.KNOWN: 0.3,
    FactStatus.PENDING: 0.1,
    FactStatus.ACTIVE: 0.001,
    FactStatus.SOAKING: 0.02,
    FactStatus.REJECTED: 0.001,
    FactStatus.EXPIRED: 0.1,
}


def fill(store: Store, *, facts: int, releases: int) -> None:
    """Fill a store as it would be after years of use."""
    _insert(store, FactRow, _facts(facts))
    things = [f"S{number}" for number in range(facts // 2)] + [f"O{n}" for n in range(5000)]
    _insert(store, EntityRow, (_entity_row(id_) for id_ in things))
    names = sorted((folded(label), id_) for id_ in things for label in _labels(id_).values())
    _insert(store, NameRow, ({"name": name, "entity_id": id_} for name, id_ in names))
    held = [id_of(number) for number in range(HELD)]
    _insert(store, CandidateRow, (_candidate(number, held) for number in range(1, releases + 1)))
    _insert(store, ReleaseRow, (_release(number, held, releases) for number in range(releases + 1)))
    _insert(store, RunRow, (_run(number) for number in range(facts // 50)))
    _insert(store, AuditLogRow, (_audit(number) for number in range(facts // 50)))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        vacuum = store.engine.dialect.name == "postgresql"
        connection.execute(text("VACUUM ANALYZE" if vacuum else "ANALYZE"))


def _insert(store: Store, table: type[RowBase], rows: Iterator[dict[str, Any]]) -> None:
    for part in chunks(rows, ROWS):
        with store.begin() as session:
            session.execute(insert(table), part)


def id_of(number: int) -> str:
    """The id of a fact."""
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
            "id": id_of(number),
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
    return {"at": at, "who": "bench", "what": f"withdrawn {id_of(number)}", "why": "wrong"}
