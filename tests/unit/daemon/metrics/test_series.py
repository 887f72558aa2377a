"""The exporter serves exactly the documented series, and a scrape is cheap.

It still answers when the database is away.
"""

import re
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

from factd.daemon.app import App
from factd.daemon.metrics import exporter
from factd.daemon.metrics.exporter import Metrics, exposition
from factd.daemon.metrics.settings import MetricsSettings
from factd.daemon.metrics.store_collector import StoreCollector
from factd.daemon.runtime.metrics import metrics_of
from factd.store import queries
from factd.store.database import migrate
from factd.store.database.session import Store
from factd.store.ingest import ingest
from factd.store.ingest.parsing import read_item
from factd.store.model.facts import FactStatus, Receipt
from factd.store.model.releases import RunStatus
from support.populated import TABLES, populate, populated_app, scraped, series, set_aside
from support.world import NOW, Maker, claim

OPEN_METRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@pytest.fixture
def app(make: Maker) -> App:
    found = make(TABLES)
    populate(found, NOW)
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metrics]:
    """The series of a daemon on SQLite, in which nothing has happened yet."""
    app = populated_app(tmp_path_factory.mktemp("factd"), NOW)
    yield metrics_of(app)
    app.ledger.store.close()


def test_the_docstring_shows_every_series_and_no_other(told: Metrics) -> None:
    shown = set(re.findall(r"^(factd_\w+)", str(exporter.__doc__), re.MULTILINE))
    names = {name for name in series(scraped(told)) if name.startswith("factd_")}
    kept = {name for name in names if not name.endswith(("_created", "_count", "_sum"))}
    assert kept == shown


def test_the_database_is_told_as_it_stands(app: App) -> None:
    found = scraped(metrics_of(app))
    at = NOW.timestamp()
    expected = {
        ("factd_store_reachable", ()): 1,
        ("factd_live_release", ()): 1,
        ("factd_live_facts", ()): 4,
        ("factd_capacity_used_ratio", ()): 0.4,
        ("factd_releases_waiting", ()): 1,
        ("factd_releases_waiting_oldest_timestamp_seconds", ()): at - 3 * 86_400,
        ("factd_frozen", ()): 1,
        ("factd_frozen_since_timestamp_seconds", ()): at - 5 * 3600,
        ("factd_last_success_timestamp_seconds", (("step", "cycle"),)): at,
        ("factd_last_success_timestamp_seconds", (("step", "pull"),)): 0,
        ("factd_run_since_timestamp_seconds", (("step", "audit"),)): at,
        ("factd_workers", ()): 1,
        ("factd_tasks", (("kind", "edit"), ("status", "running"))): 1,
        ("factd_task_waiting_timestamp_seconds", ()): at - 600,
        ("factd_task_silent_timestamp_seconds", ()): at - 600,
        ("factd_worker_deaths_in_hour", (("cause", "memory"),)): 2,
        ("factd_worker_deaths_in_hour", (("cause", "exit"),)): 1,  # a cause that is not in the set
        ("factd_worker_deaths_in_hour", (("cause", "stale"),)): 0,  # two hours ago
        ("factd_lease_epoch", (("lease", "clock"),)): 7,
        ("factd_lease_held", (("lease", "writer"),)): 0,
        ("factd_audit_failed", ()): 1,
        ("factd_audit_lost_facts", ()): 2,
        ("factd_dispatches", (("status", "failed"),)): 1,
        ("factd_notices_open", ()): 1,
        ("factd_source_failures", (("source", "drop_folder"),)): 7,
        ("factd_today", (("what", "publishes"),)): 1,
        ("factd_today", (("what", "facts"),)): 4,
        ("factd_today", (("what", "edits"),)): 2,
        ("factd_limit_per_day", (("what", "facts"),)): 0,
        ("factd_interval_seconds", (("step", "cycle"),)): 3600,
    }
    assert {key: found.get(key) for key in expected} == expected


def test_the_live_release_is_judged_by_the_gates_of_today(told: Metrics) -> None:
    found = scraped(told)
    known = (("gate", "known_kept"), ("language", "en"))
    assert found["factd_live_gate_passes", known] == 0
    assert found["factd_live_gate_margin", known] == pytest.approx(-0.05)
    leverage = (("gate", "leverage"), ("language", "all"))
    assert found["factd_live_gate_passes", leverage] == 1
    assert found["factd_live_gate_margin", leverage] == pytest.approx(0.999 - 0.6)
    assert found["factd_layer_leverage_max", (("layer", "1"),)] == 0.6
    names = {dict(labels)["metric"] for name, labels in found if name == "factd_live_measurement"}
    assert names == {"generation", "kept"}  # a layer is a label of its own series


def test_the_queue_tells_its_length_and_its_oldest_fact(make: Maker) -> None:
    app = make(TABLES)
    for days, name in enumerate(("HR", "EE")):
        lines, now = (
            [read_item(1, claim(name, "EUR"), app.prompts.catalogue)],
            NOW + timedelta(days=days),
        )
        receipt = Receipt(file="x", retrieved_at=now)
        with app.ledger.begin() as session:
            ingest.ingest(session, lines, app.ledger.resolver, receipt=receipt, now=now)
    found = scraped(metrics_of(app))
    assert found["factd_facts", (("status", "pending"),)] == 2
    assert found["factd_queue_oldest_timestamp_seconds", ()] == NOW.timestamp()
    with app.ledger.read() as session:
        first = queries.facts.list_facts(session, status=(FactStatus.PENDING,))[0]
    set_aside(app, first.id, NOW)
    assert scraped(metrics_of(app))["factd_quarantined_facts_total", ()] == 1


def test_counters_start_at_zero_and_rise(told: Metrics) -> None:
    key = ("factd_runs_total", (("status", "failed"), ("step", "audit")))
    assert scraped(told)[key] == 0
    told.run_ended("audit", RunStatus.FAILED, 12.0, 41)
    assert scraped(told)[key] == 1


def test_who_accepts_open_metrics_gets_the_run_as_exemplar(told: Metrics) -> None:
    told.run_ended("cycle", RunStatus.DONE, 41.7, 812)
    body, kind = exposition(told.registry, OPEN_METRICS)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    parsed = open_metrics(body.decode())  # type: ignore[no-untyped-call]
    families = {family.name: family for family in parsed}
    marked = [s for s in families["factd_step_seconds"].samples if s.exemplar]
    assert ("60.0", {"run": "812"}) in [(s.labels["le"], s.exemplar.labels) for s in marked]
    assert any(s.exemplar for s in families["factd_runs"].samples)


def test_who_does_not_gets_plain_text_without_exemplars(told: Metrics) -> None:
    told.run_ended("cycle", RunStatus.DONE, 41.7, 812)
    for accept in ("", "*/*", "text/html"):
        body, kind = exposition(told.registry, accept)
        assert kind.startswith("text/plain; version=0.0.4")
        assert b" # {" not in body


def test_a_database_without_its_schema_is_one_zero_and_no_error(make: Maker, database: str) -> None:
    app = make(TABLES)
    migrate.downgrade(database, "base")
    found = scraped(metrics_of(app))
    assert found["factd_store_reachable", ()] == 0
    assert ("factd_runs_total", (("status", "done"), ("step", "pull"))) in found
    assert "factd_disk_free_bytes" in series(found)
    assert "factd_facts" not in series(found)


def test_a_database_that_is_away_is_one_zero_and_no_error() -> None:
    store = Store("postgresql://factd@127.0.0.1:1/none")
    assert scraped(registry_of(StoreCollector(store, MetricsSettings(), lambda: NOW))) == {
        ("factd_store_reachable", ()): 0.0
    }


def registry_of(collector: StoreCollector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


class Slow:
    """A clock that is asked once a reading, and stands still until it may go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = 0, threading.Event()

    def __call__(self) -> datetime:
        self.asked += 1
        self.go_on.wait(20)
        return NOW


@pytest.fixture
def slow() -> Iterator[Slow]:
    found = Slow()
    yield found
    found.go_on.set()


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'factd.sqlite'}"
    migrate.upgrade(url)
    found = Store(url)
    yield found
    found.close()


def test_a_database_that_hangs_holds_no_scrape_up(slow: Slow, empty: Store) -> None:
    collector = StoreCollector(empty, MetricsSettings(), slow, patience=0.05)
    registry = registry_of(collector)
    for _ in range(5):
        assert scraped(registry)["factd_store_reachable", ()] == 0
    slow.go_on.set()
    assert collector.reader
    collector.reader.join(10)
    assert scraped(registry)["factd_store_reachable", ()] == 1
    assert slow.asked == 1


def test_a_storm_of_scrapes_asks_the_database_once(slow: Slow, empty: Store) -> None:
    slow.go_on.set()
    registry = registry_of(StoreCollector(empty, MetricsSettings(), slow, fresh=60.0))
    found: list[float] = []

    def scrape() -> None:
        found.append(scraped(registry)["factd_store_reachable", ()])

    storm = [threading.Thread(target=scrape) for _ in range(50)]
    for thread in storm:
        thread.start()
    for thread in storm:
        thread.join(30)
    assert found == [1.0] * 50
    assert slow.asked == 1


def test_what_was_read_is_read_again_after_a_while(slow: Slow, empty: Store) -> None:
    slow.go_on.set()
    registry = registry_of(StoreCollector(empty, MetricsSettings(), slow, fresh=0.05))
    scraped(registry)
    time.sleep(0.06)
    scraped(registry)
    assert slow.asked == 2
