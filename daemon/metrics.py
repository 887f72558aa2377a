"""All series of factd. State that lives in the database is read at each scrape; what happens is counted.

factd_facts{status="pending"} 4
factd_live_release 12
factd_live_release_timestamp_seconds 1.79e+09
factd_candidates{status="rejected"} 1
factd_frozen 0
factd_live_measurement{check="known_facts",metric="kept",language="en"} 0.96
factd_quarantined_facts_total 3
factd_audits{outcome="passed"} 12
factd_audit_timestamp_seconds 1.79e+09
factd_audit_lost_facts 0
factd_runs_total{job="cycle",status="done"} 31
factd_step_seconds_bucket{step="edit",le="60.0"} 30
factd_missed_ticks_total{job="pull"} 0
factd_source_frozen{source="wikidata"} 0
factd_source_failures{source="wikidata"} 0
factd_source_last_success_timestamp_seconds{source="wikidata"} 1.79e+09
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from store import fact_queries, measured_queries, release_queries, source_queries
from store.measured import AuditOutcome
from store.releases import CandidateStatus, RunStatus
from store.schema import CandidateRow
from store.session import Store
from store.source_queries import SourceState

JOBS = ("pull", "cycle", "audit", "statistics", "prune")
STEPS = JOBS
CAUSES = ("exit", "killed", "memory", "stale", "timeout")
BUCKETS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)


class StoreCollector(Collector):
    """What the database says now."""

    def __init__(self, store: Store, sources: tuple[str, ...]) -> None:
        self.store, self.sources = store, sources

    def collect(self) -> Iterator[Metric]:
        """One short transaction a scrape."""
        with self.store.read() as session:
            facts = fact_queries.counts(session)
            live = release_queries.live_release(session)
            frozen = release_queries.frozen(session)
            query = select(CandidateRow.status, func.count()).group_by(CandidateRow.status)
            candidates = {status: count for status, count in session.execute(query)}  # noqa: C416 - rows, no dict
            states = [source_queries.source_state(session, name) for name in self.sources]
            made = live.candidate_id if live else None
            report = release_queries.candidate(session, made).report if made else None
            aside = measured_queries.count_set_aside(session)
            audits = measured_queries.count_audits(session)
            last = measured_queries.audits(session, limit=1)
        yield _labelled("factd_facts", "Fact versions by status.", facts)
        every = {status.value: candidates.get(status.value, 0) for status in CandidateStatus}
        yield _labelled("factd_candidates", "Candidates by status.", every)
        number = live.number if live else -1
        yield GaugeMetricFamily(
            "factd_live_release", "Number of the live release; -1 where there is none.", number
        )
        since = live.live_at.timestamp() if live and live.live_at else 0.0
        yield GaugeMetricFamily("factd_live_release_timestamp_seconds", "When it went live.", since)
        yield GaugeMetricFamily(
            "factd_live_facts", "Facts of the live release.", len(live.fact_ids) if live else 0
        )
        yield GaugeMetricFamily(
            "factd_frozen", "1 while nothing is written or published.", float(bool(frozen))
        )
        yield _measurements(report or {})
        yield CounterMetricFamily("factd_quarantined_facts", "Facts that were set aside.", aside)
        outcomes = {outcome.value: audits.get(outcome.value, 0) for outcome in AuditOutcome}
        yield _labelled("factd_audits", "Audits of live releases.", outcomes, label="outcome")
        at = last[0].at.timestamp() if last else 0.0
        yield GaugeMetricFamily("factd_audit_timestamp_seconds", "The last audit; 0: none.", at)
        lost = len(last[0].report.get("lost", ())) if last else 0
        yield GaugeMetricFamily("factd_audit_lost_facts", "Facts that the last audit missed.", lost)
        for name, text, value in SOURCE_SERIES:
            yield _labelled(name, text, {s.name: value(s) for s in states}, label="source")


SOURCE_SERIES: tuple[tuple[str, str, Callable[[SourceState], float]], ...] = (
    ("factd_source_frozen", "1 while a source is not asked.", lambda s: float(bool(s.frozen))),
    ("factd_source_failures", "Pulls that failed in a row.", lambda s: float(s.failures)),
    (
        "factd_source_last_success_timestamp_seconds",
        "When a source was pulled to its end; 0: never.",
        lambda s: s.succeeded_at.timestamp() if s.succeeded_at else 0.0,
    ),
)


def _measurements(report: Mapping[str, Any]) -> GaugeMetricFamily:
    """What the live release's checks measured; labels are checks, metrics and languages: small closed sets."""
    labels = ["check", "metric", "language"]
    family = GaugeMetricFamily("factd_live_measurement", "Of the live release.", labels=labels)
    for row in report.get("measurements", ()):
        if row["value"] is not None:
            family.add_metric([row[name] for name in labels], row["value"])
    return family


def _labelled(
    name: str, text: str, values: Mapping[str, float], *, label: str = "status"
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for status, value in values.items():
        family.add_metric([status], value)
    return family


class Metrics:
    """A registry with everything; counters start at 0."""

    def __init__(self, store: Store, sources: tuple[str, ...] = ()) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(StoreCollector(store, sources))
        self.runs = Counter(
            "factd_runs", "Ticks of jobs that ended.", ["job", "status"], registry=self.registry
        )
        self.missed = Counter(
            "factd_missed_ticks", "Ticks that the clock dropped.", ["job"], registry=self.registry
        )
        self.seconds = Histogram(
            "factd_step_seconds",
            "Duration of steps.",
            ["step"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.restarts = Counter(
            "factd_worker_ends",
            "Workers that ended before their time.",
            ["cause"],
            registry=self.registry,
        )
        self.leading = Gauge(
            "factd_leading", "1 while this daemon has the clock.", registry=self.registry
        )
        self.lines = Counter(
            "factd_lines", "Lines of sources.", ["outcome"], registry=self.registry
        )
        for job in JOBS:
            self.missed.labels(job)
            for status in (RunStatus.DONE, RunStatus.FAILED):
                self.runs.labels(job, status.value)
        for cause in CAUSES:
            self.restarts.labels(cause)
        for step in STEPS:
            self.seconds.labels(step)
        for outcome in ("new", "unchanged", "bad"):
            self.lines.labels(outcome)
