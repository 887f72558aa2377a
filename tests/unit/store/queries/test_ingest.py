"""Ingest into a real SQLite file: idempotent, independent of order, nothing lost."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from factd.store import queries
from factd.store.database import migrate
from factd.store.database.session import Store
from factd.store.errors import NotFound
from factd.store.ingest import ingest
from factd.store.ingest.ingest import IngestReport
from factd.store.ingest.parsing import read_updates
from factd.store.model.facts import FactStatus, Receipt, Ruling, Terms
from factd.store.queries.resolution import ConflictResolver
from factd.store.schema.facts import BadLineRow
from support.databases import fresh_database
from support.world import NOW, claim, jsonl


def ingest_rows(
    store: Store, resolver: ConflictResolver, path: Path, rows: Sequence[Any], **more: Any
) -> IngestReport:
    jsonl(path, list(rows))
    receipt = Receipt(file=path.name, retrieved_at=NOW)
    with store.begin() as session:
        lines = read_updates(path, resolver.catalogue)
        return ingest.ingest(session, lines, resolver, receipt=receipt, now=NOW, **more)


def statuses(store: Store) -> dict[str, str]:
    with store.begin() as session:
        return {
            f.id: f"{f.status.value} {f.subject.id} {f.object.id}"
            for f in queries.facts.list_facts(session)
        }


def test_ingesting_twice_changes_nothing(
    store: Store, resolver: ConflictResolver, tmp_path: Path
) -> None:
    rows = [claim("HR", "EUR"), claim("FR", "EUR"), claim("HR", "EUR")]
    first = ingest_rows(store, resolver, tmp_path / "x.jsonl", rows)
    before = statuses(store)
    again = ingest_rows(store, resolver, tmp_path / "x.jsonl", rows)
    assert (first.lines, first.new, first.unchanged, first.pending) == (3, 2, 1, 2)
    assert (again.new, again.unchanged) == (0, 3)
    assert statuses(store) == before


def test_a_garbage_feed_loses_no_good_line_and_names_each_bad_one(
    store: Store, resolver: ConflictResolver, tmp_path: Path
) -> None:
    good = [claim(f"T{i}", "EUR") for i in range(50)]
    garbage: list[Any] = [
        b"{broken",
        {k: v for k, v in claim("A", "EUR").items() if k != "object"},
        claim("B", "EUR", relation="P0"),
        claim("C", "EUR", event_time=7),
        b'{"x": "' + b"a" * 1_000_000 + b'"}',
        b'{"x": "\xc3\x28"}',
        good[3],
        claim("T5", "USD"),
    ]
    rows = [*good[:25], *garbage, *good[25:]]
    report = ingest_rows(store, resolver, tmp_path / "x.jsonl", rows)
    assert [line.number for line in report.bad] == [6, 26, 27, 28, 29, 30, 31, 33]
    assert report.bad[0].reason.startswith("conflict: ")
    assert (report.new, report.unchanged, report.pending) == (51, 1, 49)
    with store.begin() as session:
        pending = {f.subject.id for f in queries.facts.candidate_set(session)}
    assert pending == {f"T{i}" for i in range(50)} - {"T5"}


CLAIMS = [
    claim("HR", "HRK", day=None),
    claim("HR", "EUR"),
    claim("HR", "USD", day="2010-01-01"),
    claim("FR", "EUR", day="2002-01-01"),
    claim("FR", "FRF", day="2002-01-01"),
    claim("IT", "EUR", day="2031-01-01"),
    claim("IT", "ITL", day="2001-01-01", valid_to="2002-01-01"),
    claim("FR", "EUR", day="2002-01-01", source="other", event_time="2003-01-01T00:00:00Z"),
    claim("HR", "USD", day="2010-01-01", event_time="2011-01-01T00:00:00Z", withdrawn=True),
    claim("HR", "GBP", day="2024-01-01", references=0),
]
TERMS = Terms(channel="strict", min_references=0, soak=timedelta(days=1))


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(order=st.permutations(CLAIMS), cuts=st.lists(st.integers(0, len(CLAIMS)), max_size=3))
def test_the_order_and_the_batches_of_the_claims_make_no_difference(
    order: list[Any],
    cuts: list[int],
    resolver: ConflictResolver,
    backend: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    results = []
    for rows, places in ((CLAIMS, []), (order, sorted(cuts))):
        folder = tmp_path_factory.mktemp("order")
        store = Store(fresh_database(backend, folder))
        for start, end in zip([0, *places], [*places, len(rows)], strict=True):
            for _ in range(2):
                ingest_rows(store, resolver, folder / "x.jsonl", rows[start:end], terms=TERMS)
        results.append(statuses(store))
        store.close()
    assert results[0] == results[1]
    assert len(results[0]) == len(CLAIMS)


def test_after_a_fact_is_withdrawn_its_predecessor_holds(
    store: Store, resolver: ConflictResolver, tmp_path: Path
) -> None:
    ingest_rows(store, resolver, tmp_path / "a.jsonl", [claim("HR", "HRK", day=None)], known=True)
    ingest_rows(store, resolver, tmp_path / "b.jsonl", [claim("HR", "EUR")])
    with store.begin() as session:
        (fact,) = queries.facts.candidate_set(session)
        assert queries.facts.base_counterparts(session, [fact])[fact.id].object.id == "HRK"
        queries.resolution.withdraw(
            session, [fact.id[:8]], resolver, why="wrong", who="test", now=NOW
        )
        assert queries.facts.candidate_set(session) == []
        kept = queries.facts.history(session, "HR", "P38")
    assert [(f.object.id, f.status) for f in kept] == [
        ("EUR", FactStatus.WITHDRAWN),
        ("HRK", FactStatus.KNOWN),
    ]
    again = ingest_rows(store, resolver, tmp_path / "b.jsonl", [claim("HR", "EUR")])
    assert (again.new, again.pending) == (0, 0)


def test_a_future_fact_becomes_pending_on_its_day(
    store: Store, resolver: ConflictResolver, tmp_path: Path
) -> None:
    ingest_rows(store, resolver, tmp_path / "x.jsonl", [claim("HR", "EUR", day="2026-12-01")])
    with store.begin() as session:
        assert queries.facts.candidate_set(session) == []
        later = NOW.replace(month=12, day=2)
        assert queries.resolution.resolve_due(session, resolver, now=later) == 1
        assert len(queries.facts.candidate_set(session)) == 1
        assert queries.resolution.resolve_due(session, resolver, now=later) == 0


def test_an_unknown_fact_id_is_named_in_the_error(store: Store) -> None:
    with store.begin() as session, pytest.raises(NotFound, match="no fact with id 'abc'"):
        queries.facts.get_fact(session, "abc")


def test_a_bad_line_is_stored_once_however_often_it_is_read(
    store: Store, resolver: ConflictResolver, tmp_path: Path
) -> None:
    for _ in range(3):
        ingest_rows(store, resolver, tmp_path / "x.jsonl", [b"{x", claim("HR", "EUR")])
    with store.begin() as session:
        assert session.scalar(select(func.count()).select_from(BadLineRow)) == 1


def test_a_verdict_survives_a_downgrade_and_an_upgrade(
    store: Store, resolver: ConflictResolver, tmp_path: Path
) -> None:
    rows = [claim("HR", "EUR"), claim("FR", "EUR", day="2031-01-01"), claim("IT", "EUR")]
    ingest_rows(store, resolver, tmp_path / "x.jsonl", rows)
    notice = claim("IT", "EUR", event_time="2024-01-01T00:00:00Z", withdrawn=True)
    ingest_rows(store, resolver, tmp_path / "y.jsonl", [notice])
    with store.begin() as session:
        (fact,) = queries.facts.list_facts(session, subject="HR")
        more: Any = {"why": "wrong", "who": "me", "now": NOW}
        queries.resolution.withdraw(session, [fact.id], resolver, **more)
    before = statuses(store)
    store.close()
    migrate.downgrade(store.url, "0001")
    migrate.upgrade(store.url)
    assert migrate.differences(store.url) == []
    with store.begin() as session:
        assert queries.resolution.resolve_due(session, resolver, now=NOW.replace(year=2032)) == 1
        assert queries.facts.verdicts(session, "HR", "P38")["EUR"].ruling is Ruling.WITHDRAWN
    after = statuses(store)
    assert set(after) == set(before)
    assert {x.split(" ", 1)[1]: x.split()[0] for x in after.values()} == {
        "HR EUR": "withdrawn",
        "FR EUR": "pending",
        "IT EUR": "withdrawn",
    }
