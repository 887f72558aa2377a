"""The series of what the database says: read at a scrape, at most every few seconds, and never at the scrape's cost.

The database is asked in a thread of its own, of which a scrape waits a moment: one that hangs, fails or lacks its schema makes
`factd_store_reachable 0`, and everything that needs no database is still told.
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
from factd.daemon.metrics.settings import CAUSES, LEASES, STEPS, TASK_KINDS, Setup, cause_of
from factd.store import queries, views
from factd.store.database.session import Store
from factd.store.errors import StoreError
from factd.store.model.evidence import AuditOutcome
from factd.store.model.figures import Figures, ServerFigures
from factd.store.model.operations import DispatchStatus, TaskStatus
from factd.store.model.releases import CandidateStatus

FRESH_SECONDS = 5.0  # within which a second scrape is answered from memory
PATIENCE_SECONDS = 3.0  # of a scrape, with the database
OPEN = (TaskStatus.WAITING, TaskStatus.RUNNING)


@dataclass(frozen=True)
class Seen:
    """What was read, and when on the monotonic clock; no families: the database did not answer."""

    families: tuple[Metric, ...]
    at: float


class StoreCollector(Collector):
    """What the database says now."""

    def __init__(
        self,
        store: Store,
        setup: Setup,
        now: Callable[[], datetime],
        *,
        patience: float = PATIENCE_SECONDS,
        fresh: float = FRESH_SECONDS,
    ) -> None:
        self.store, self.setup, self.now = store, setup, now
        self.patience, self.fresh = patience, fresh
        self.seen = Seen((), -fresh)
        self.reader: threading.Thread | None = None
        self.lock = threading.Lock()
        self.report = lru_cache(maxsize=2)(self._report)  # a candidate's never changes

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The families; those of the database only where it answered in time."""
        reader = self._reading()
        if reader is not None:
            reader.join(self.patience)
        seen = self.seen
        fresh = time.monotonic() - seen.at < self.fresh + self.patience
        found = seen.families if fresh else ()
        text = "0 while the database does not answer, or lacks its schema."
        yield GaugeMetricFamily("factd_store_reachable", text, float(bool(found)))
        yield from found

    def _reading(self) -> threading.Thread | None:
        """The thread that asks the database now, one at a time; None: what is known is fresh."""
        with self.lock:
            if self.reader is not None and self.reader.is_alive():
                return self.reader
            if time.monotonic() - self.seen.at < self.fresh:
                return None
            self.reader = threading.Thread(target=self._read, name="figures", daemon=True)
            self.reader.start()
            return self.reader

    def _read(self) -> None:
        try:
            self.seen = Seen(tuple(self._families()), time.monotonic())
        except (StoreError, SQLAlchemyError) as error:
            log.warning("figures not read", error=str(error))
            self.seen = Seen((), time.monotonic())

    def _families(self) -> Iterator[Metric]:
        with self.store.read() as session:
            found = views.figures.figures(
                session,
                steps=STEPS,
                sources=self.setup.sources,
                servers=self.setup.servers,
                now=self.now(),
            )
        yield from state_families(found)
        made = found.live.candidate_id if found.live else None
        report = self.report(made) if made is not None else {}
        yield from live_families(report, found.live, self.setup)

    def _report(self, candidate: int) -> Mapping[str, Any]:
        with self.store.read() as session:
            return queries.releases.candidate(session, candidate).report or {}


def state_families(found: Figures) -> Iterator[Metric]:
    """One family for each figure."""
    yield labelled("factd_facts", "Fact versions by status.", "status", found.facts)
    yield since("factd_queue_oldest", "The oldest fact that waits to be written", found.queue_since)
    candidates = {s.value: found.candidates.get(s, 0) for s in CandidateStatus}
    yield labelled("factd_candidates", "Candidates by status.", "status", candidates)
    waiting = found.releases_waiting
    text = "Accepted releases, newer than the live one, that wait to go out."
    yield gauge("factd_releases_waiting", text, waiting.count)
    yield since("factd_releases_waiting_oldest", "The oldest of them", waiting.since)
    yield gauge("factd_frozen", "1 while nothing is written or published.", bool(found.frozen))
    frozen_at = found.frozen.since if found.frozen else None
    yield since("factd_frozen_since", "When an operator or an audit froze it", frozen_at)
    yield counted("factd_quarantined_facts", "Facts that were set aside.", found.set_aside)
    text = "Done since midnight, UTC, as [limits] counts."
    yield labelled("factd_today", text, "what", found.today)
    yield from _of_runs(found)
    yield from _of_audits(found)
    yield from _of_workers(found)
    yield from _of_sources(found)
    yield from _of_servers(found)
    yield gauge("factd_notices_open", "Notices that are not over.", found.notices_open)
    sent = {s.value: found.dispatches.get(s, 0) for s in DispatchStatus}
    yield labelled("factd_dispatches", "Notices on their channels, by status.", "status", sent)


def _of_runs(found: Figures) -> Iterator[Metric]:
    started = {step: stamp(found.running.get(step)) for step in STEPS}
    ended = {step: stamp(found.succeeded.get(step)) for step in STEPS}
    text = "Start of the run in progress; 0: none."
    yield labelled("factd_run_since_timestamp_seconds", text, "step", started)
    text = "End of the last run that was done; 0: never."
    yield labelled("factd_last_success_timestamp_seconds", text, "step", ended)
    epochs = {lease.name: float(lease.epoch) for lease in found.leases}
    held = {lease.name: float(bool(lease.holder)) for lease in found.leases}
    every = {name: epochs.get(name, 0.0) for name in LEASES}
    yield labelled("factd_lease_epoch", "How often a lease changed hands.", "lease", every)
    every = {name: held.get(name, 0.0) for name in LEASES}
    yield labelled("factd_lease_held", "1 while somebody holds a lease.", "lease", every)


def _of_audits(found: Figures) -> Iterator[Metric]:
    audits = found.audits
    outcomes = {o.value: audits.outcomes.get(o, 0) for o in AuditOutcome}
    yield labelled("factd_audits", "Audits of live releases.", "outcome", outcomes)
    yield since("factd_audit", "The last audit", audits.last_at)
    yield gauge("factd_audit_failed", "1 where the last audit failed.", audits.last_failed)
    yield gauge("factd_audit_lost_facts", "Facts that the last audit missed.", audits.last_lost)


def _of_workers(found: Figures) -> Iterator[Metric]:
    workers = found.workers
    yield gauge("factd_workers", "Workers that were seen in the last minute.", workers.alive)
    yield since("factd_workers_seen", "The last sign of life of any", workers.seen_at)
    tasks = GaugeMetricFamily("factd_tasks", "Tasks that are open.", labels=["kind", "status"])
    for kind in TASK_KINDS:
        for status in OPEN:
            tasks.add_metric([kind, status.value], workers.tasks.get((kind, status), 0))
    yield tasks
    yield since("factd_task_waiting", "The oldest task that waits", workers.waiting_since)
    text = "The last sign of life of the worker that has been silent longest at a task"
    yield since("factd_task_silent", text, workers.silent_since)
    deaths = dict.fromkeys(CAUSES, 0)
    for given, count in workers.deaths.items():
        deaths[cause_of(given)] += count
    text = "Workers that died at a task, in the last hour."
    yield labelled("factd_worker_deaths_in_hour", text, "cause", deaths)


def _of_sources(found: Figures) -> Iterator[Metric]:
    rows = {state.name: state for state in found.sources}
    frozen = {name: float(bool(s.frozen)) for name, s in rows.items()}
    yield labelled("factd_source_frozen", "1 while a source is not asked.", "source", frozen)
    failures = {name: float(s.failures) for name, s in rows.items()}
    yield labelled("factd_source_failures", "Pulls that failed in a row.", "source", failures)
    at = {name: stamp(s.succeeded_at) for name, s in rows.items()}
    text = "When a source was pulled to its end; 0: never."
    yield labelled("factd_source_last_success_timestamp_seconds", text, "source", at)


SERVERS: tuple[tuple[str, str, Callable[[ServerFigures], float]], ...] = (
    (
        "release",
        "The release that a server serves; -1: not known.",
        lambda one: -1.0 if one.release is None else one.release,
    ),
    (
        "behind_since_timestamp_seconds",
        "Since when a server does not serve the live release; 0: it does.",
        lambda one: stamp(one.behind_since),
    ),
    (
        "seen_timestamp_seconds",
        "When a server last answered; 0: never.",
        lambda one: stamp(one.seen_at),
    ),
    (
        "handover_failed",
        "1 where the last hand-over to a server was given up.",
        lambda one: one.failed,
    ),
    (
        "handover_attempts",
        "Attempts at the hand-over that is under way; 0: none is.",
        lambda one: one.attempts,
    ),
)


def _of_servers(found: Figures) -> Iterator[Metric]:
    rows = found.servers
    for name, text, value in SERVERS:
        values = {one.name: float(value(one)) for one in rows}
        yield labelled(f"factd_server_{name}", text, "server", values)
    text = "Hand-overs of releases to a server."
    handovers = GaugeMetricFamily("factd_handovers", text, labels=["server", "status"])
    for one in rows:
        for status, count in one.handovers.items():
            handovers.add_metric([one.name, status], count)
    yield handovers


def stamp(at: datetime | None) -> float:
    """Seconds since 1970; 0 where there is no time."""
    return at.timestamp() if at else 0.0


def gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    """One number."""
    return GaugeMetricFamily(name, text, float(value))


def since(name: str, text: str, at: datetime | None) -> GaugeMetricFamily:
    """One time; 0 where there is none."""
    return gauge(f"{name}_timestamp_seconds", f"{text}; 0: none.", stamp(at))


def counted(name: str, text: str, value: float) -> CounterMetricFamily:
    """A number that only rises; `_total` is added."""
    return CounterMetricFamily(name, text, value)


def labelled(name: str, text: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    """A number for each value of one label."""
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family
