"""The series that are read from the database, at most every few seconds.

A thread of its own queries the database, and a scrape waits for it only a moment. If the database
hangs, fails or lacks its schema, `factd_store_reachable` is 0, and all series that need no database
are still exported.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from factd.daemon.log import log
from factd.daemon.metrics.live_release import live_families
from factd.daemon.metrics.settings import (
    CAUSES,
    LEASES,
    STEPS,
    TASK_KINDS,
    MetricsSettings,
    cause_of,
)
from factd.store import queries, views
from factd.store.database.session import Store
from factd.store.errors import StoreError
from factd.store.model.evidence import AuditOutcome
from factd.store.model.figures import Figures, ServerFigures
from factd.store.model.operations import DispatchStatus, TaskStatus
from factd.store.model.releases import CandidateStatus

FRESH_SECONDS = 5.0  # a second scrape within this time is answered from memory
PATIENCE_SECONDS = 3.0  # a scrape waits this long for the database
OPEN = (TaskStatus.WAITING, TaskStatus.RUNNING)


@dataclass(frozen=True)
class CachedFamilies:
    """Families that were read, and when on the monotonic clock.

    Empty: the database did not answer.
    """

    families: tuple[Metric, ...]
    at: float


class StoreCollector(Collector):
    """The families of the database, as it is now."""

    def __init__(
        self,
        store: Store,
        settings: MetricsSettings,
        now: Callable[[], datetime],
        *,
        patience: float = PATIENCE_SECONDS,
        fresh: float = FRESH_SECONDS,
    ) -> None:
        self.store, self.settings, self.now = store, settings, now
        self.patience, self.fresh = patience, fresh
        self.cached = CachedFamilies((), -fresh)
        self.reader: threading.Thread | None = None
        self.lock = threading.Lock()
        self.report = lru_cache(maxsize=2)(self._report)  # the report of a candidate never changes

    def describe(self) -> Iterable[Metric]:
        """No families: registering must not query the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families. Those of the database only if it answered in time."""
        reader = self._reading()
        if reader is not None:
            reader.join(self.patience)
        cached = self.cached
        is_fresh = time.monotonic() - cached.at < self.fresh + self.patience
        families = cached.families if is_fresh else ()
        text = "0 while the database does not answer, or lacks its schema."
        yield GaugeMetricFamily("factd_store_reachable", text, float(bool(families)))
        yield from families

    def _reading(self) -> threading.Thread | None:
        """The thread that queries the database now, one at a time; None: the cached families are
        fresh.
        """
        with self.lock:
            if self.reader is not None and self.reader.is_alive():
                return self.reader
            if time.monotonic() - self.cached.at < self.fresh:
                return None
            self.reader = threading.Thread(target=self._read, name="figures", daemon=True)
            self.reader.start()
            return self.reader

    def _read(self) -> None:
        try:
            self.cached = CachedFamilies(tuple(self._families()), time.monotonic())
        except (StoreError, SQLAlchemyError) as error:
            log.warning("figures not read", error=str(error))
            self.cached = CachedFamilies((), time.monotonic())

    def _families(self) -> Iterator[Metric]:
        with self.store.read() as session:
            figures = views.figures.figures(
                session,
                steps=STEPS,
                sources=self.settings.sources,
                servers=self.settings.servers,
                now=self.now(),
            )
        yield from state_families(figures)
        candidate = figures.live.candidate_id if figures.live else None
        report = self.report(candidate) if candidate is not None else {}
        yield from live_families(report, figures.live, self.settings)

    def _report(self, candidate: int) -> Mapping[str, Any]:
        with self.store.read() as session:
            return queries.releases.candidate(session, candidate).report or {}


def state_families(figures: Figures) -> Iterator[Metric]:
    """The families of the state of the database."""
    yield labelled("factd_facts", "Fact versions by status.", "status", figures.facts)
    yield since(
        "factd_queue_oldest",
        "Arrival of the oldest fact that waits to be written",
        figures.queue_since,
    )
    candidates = {s.value: figures.candidates.get(s, 0) for s in CandidateStatus}
    yield labelled("factd_candidates", "Candidates by status.", "status", candidates)
    waiting = figures.releases_waiting
    text = "Accepted releases, newer than the live one, that wait to be published."
    yield gauge("factd_releases_waiting", text, waiting.count)
    yield since(
        "factd_releases_waiting_oldest", "Creation of the oldest release that waits", waiting.since
    )
    yield gauge(
        "factd_frozen",
        "1 while factd is frozen: nothing is edited or published.",
        bool(figures.frozen),
    )
    frozen_at = figures.frozen.since if figures.frozen else None
    yield since(
        "factd_frozen_since", "When an operator, a rollback or an audit froze factd", frozen_at
    )
    yield counted("factd_quarantined_facts", "Facts that were set aside.", figures.set_aside)
    text = "Done since midnight UTC, counted as [limits] counts."
    yield labelled("factd_today", text, "what", figures.today)
    yield from _of_runs(figures)
    yield from _of_audits(figures)
    yield from _of_workers(figures)
    yield from _of_sources(figures)
    yield from _of_servers(figures)
    yield gauge("factd_notices_open", "Notices that are open.", figures.notices_open)
    sent = {s.value: figures.dispatches.get(s, 0) for s in DispatchStatus}
    yield labelled(
        "factd_dispatches", "Dispatches of notices over channels, by status.", "status", sent
    )


def _of_runs(figures: Figures) -> Iterator[Metric]:
    started = {step: stamp(figures.running.get(step)) for step in STEPS}
    ended = {step: stamp(figures.succeeded.get(step)) for step in STEPS}
    text = "Start of the run in progress; 0: none."
    yield labelled("factd_run_since_timestamp_seconds", text, "step", started)
    text = "End of the last run that was done; 0: never."
    yield labelled("factd_last_success_timestamp_seconds", text, "step", ended)
    epochs = {lease.name: float(lease.epoch) for lease in figures.leases}
    held = {lease.name: float(bool(lease.holder)) for lease in figures.leases}
    every = {name: epochs.get(name, 0.0) for name in LEASES}
    yield labelled("factd_lease_epoch", "How often a lease changed hands.", "lease", every)
    every = {name: held.get(name, 0.0) for name in LEASES}
    yield labelled("factd_lease_held", "1 while a process holds the lease.", "lease", every)


def _of_audits(figures: Figures) -> Iterator[Metric]:
    audits = figures.audits
    outcomes = {o.value: audits.outcomes.get(o, 0) for o in AuditOutcome}
    yield labelled("factd_audits", "Audits of live releases.", "outcome", outcomes)
    yield since("factd_audit", "Time of the last audit", audits.last_at)
    yield gauge("factd_audit_failed", "1 if the last audit failed.", audits.last_failed)
    yield gauge("factd_audit_lost_facts", "Facts that the last audit found lost.", audits.last_lost)


def _of_workers(figures: Figures) -> Iterator[Metric]:
    workers = figures.workers
    yield gauge("factd_workers", "Workers that were seen in the last minute.", workers.alive)
    yield since("factd_workers_seen", "Last sign of life of any worker", workers.seen_at)
    tasks = GaugeMetricFamily("factd_tasks", "Tasks that wait or run.", labels=["kind", "status"])
    for kind in TASK_KINDS:
        for status in OPEN:
            tasks.add_metric([kind, status.value], workers.tasks.get((kind, status), 0))
    yield tasks
    yield since(
        "factd_task_waiting", "Creation of the oldest task that waits", workers.waiting_since
    )
    text = "Last sign of life of the working worker that has been silent longest"
    yield since("factd_task_silent", text, workers.silent_since)
    deaths = dict.fromkeys(CAUSES, 0)
    for given, count in workers.deaths.items():
        deaths[cause_of(given)] += count
    text = "Workers that died while they did a task, in the last hour."
    yield labelled("factd_worker_deaths_in_hour", text, "cause", deaths)


def _of_sources(figures: Figures) -> Iterator[Metric]:
    rows = {state.name: state for state in figures.sources}
    frozen = {name: float(bool(s.frozen)) for name, s in rows.items()}
    yield labelled(
        "factd_source_frozen", "1 while a source is frozen and not polled.", "source", frozen
    )
    failures = {name: float(s.failures) for name, s in rows.items()}
    yield labelled("factd_source_failures", "Pulls that failed in a row.", "source", failures)
    at = {name: stamp(s.succeeded_at) for name, s in rows.items()}
    text = "End of the last complete pull of a source; 0: never."
    yield labelled("factd_source_last_success_timestamp_seconds", text, "source", at)


SERVERS: tuple[tuple[str, str, Callable[[ServerFigures], float]], ...] = (
    (
        "release",
        "Release that a server serves; -1: not known.",
        lambda server: -1.0 if server.release is None else server.release,
    ),
    (
        "behind_since_timestamp_seconds",
        "Since when a server does not serve the live release; 0: it does.",
        lambda server: stamp(server.behind_since),
    ),
    (
        "seen_timestamp_seconds",
        "When a server last answered; 0: never.",
        lambda server: stamp(server.seen_at),
    ),
    (
        "handover_failed",
        "1 if factd gave up the last hand-over to a server.",
        lambda server: server.failed,
    ),
    (
        "handover_attempts",
        "Attempts at the hand-over under way; 0: no hand-over is under way.",
        lambda server: server.attempts,
    ),
)


def _of_servers(figures: Figures) -> Iterator[Metric]:
    rows = figures.servers
    for name, text, value in SERVERS:
        values = {server.name: float(value(server)) for server in rows}
        yield labelled(f"factd_server_{name}", text, "server", values)
    text = "Hand-overs of releases to a server."
    handovers = GaugeMetricFamily("factd_handovers", text, labels=["server", "status"])
    for server in rows:
        for status, count in server.handovers.items():
            handovers.add_metric([server.name, status], count)
    yield handovers


def stamp(at: datetime | None) -> float:
    """Seconds since 1970; 0 for None."""
    return at.timestamp() if at else 0.0


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """A family of one number."""
    return GaugeMetricFamily(name, text, float(value))


def since(name: str, text: str, at: datetime | None) -> GaugeMetricFamily:
    """A family of one time; 0 for None."""
    return gauge(f"{name}_timestamp_seconds", f"{text}; 0: none.", stamp(at))


def counted(name: str, text: str, value: float) -> CounterMetricFamily:
    """A family of one number that only rises. `_total` is added to the name."""
    return CounterMetricFamily(name, text, value)


def labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """A family with a number for each value of one label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
