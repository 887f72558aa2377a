"""All series of factd. Events are counted here; state of the database is read at a scrape.

A sample of the output:

factd_store_reachable 1
factd_facts{status="pending"} 4
factd_queue_oldest_timestamp_seconds 1.79e+09
factd_candidates{status="rejected"} 1
factd_releases_waiting 0
factd_releases_waiting_oldest_timestamp_seconds 0
factd_frozen 0
factd_frozen_since_timestamp_seconds 0
factd_quarantined_facts_total 3
factd_today{what="publishes"} 2
factd_limit_per_day{what="publishes"} 0
factd_run_since_timestamp_seconds{step="cycle"} 0
factd_last_success_timestamp_seconds{step="cycle"} 1.79e+09
factd_interval_seconds{step="cycle"} 3600
factd_start_timestamp_seconds 1.79e+09
factd_runs_total{status="done",step="cycle"} 31 # {run="812"} 1.0
factd_step_seconds_bucket{le="60.0",step="cycle"} 30 # {run="812"} 41.7
factd_missed_ticks_total{step="pull"} 0
factd_lines_total{outcome="new"} 17
factd_leading 1
factd_lease_epoch{lease="writer"} 4
factd_lease_held{lease="writer"} 1
factd_audits{outcome="passed"} 12
factd_audit_timestamp_seconds 1.79e+09
factd_audit_failed 0
factd_audit_lost_facts 0
factd_workers 1
factd_workers_seen_timestamp_seconds 1.79e+09
factd_tasks{kind="edit",status="waiting"} 0
factd_task_waiting_timestamp_seconds 0
factd_task_silent_timestamp_seconds 0
factd_worker_deaths_in_hour{cause="memory"} 1
factd_worker_restarts_total{cause="memory"} 1
factd_source_frozen{source="wikidata"} 0
factd_source_failures{source="wikidata"} 0
factd_source_last_success_timestamp_seconds{source="wikidata"} 1.79e+09
factd_server_release{server="eu"} 12
factd_server_behind_since_timestamp_seconds{server="eu"} 0
factd_server_seen_timestamp_seconds{server="eu"} 1.79e+09
factd_server_handover_failed{server="eu"} 0
factd_server_handover_attempts{server="eu"} 0
factd_handovers{server="eu",status="done"} 11
factd_notices_open 0
factd_dispatches{status="failed"} 0
factd_live_release 12
factd_live_release_timestamp_seconds 1.79e+09
factd_live_facts 69
factd_base 0
factd_capacity_used_ratio 0.003
factd_live_measurement{check="known_facts",language="en",metric="kept"} 0.96
factd_live_gate_passes{gate="known_kept",language="en"} 1
factd_live_gate_margin{gate="known_kept",language="en"} 0.01
factd_layer_leverage_max{layer="5"} 0.71
factd_layer_weight_norm_ratio{layer="5"} 1.002
factd_layer_update_norm_ratio{layer="5"} 0.04
factd_z_error_mean_ratio 0.21
factd_z_error_max_ratio 0.48
factd_adapter_rank{publisher="adapter"} 138
factd_adapter_rank_max{publisher="adapter"} 512
factd_disk_free_bytes{folder="state"} 8.1e+11
factd_disk_size_bytes{folder="state"} 1.0e+12
factd_build_info{version="0.1.0",python="3.11.7"} 1
factd_config_info{digest="0f3c9a7b2d41e865"} 1

A time is 0 if the event has not happened. The label is `step` and not `job`, because Prometheus
gives every series a label `job` of its own. Series of layers and checks exist once a release with
facts is live, series of adapters if [publish] has an adapter.
"""

import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from factd.daemon.artefacts.versions import Versions
from factd.daemon.ledger import Ledger
from factd.daemon.metrics.adapters import AdapterCollector
from factd.daemon.metrics.settings import BUCKETS, CAUSES, LIMITED, STEPS, MetricsSettings
from factd.daemon.metrics.store_collector import StoreCollector
from factd.store.model.releases import RunStatus


def exposition(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """The series as text, and the content type.

    OpenMetrics, which carries exemplars, if the scraper accepts it, else Prometheus' text format.
    accept: the request's Accept header, or an empty text.
    """
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class DiskCollector(Collector):
    """Free and total size of the disks that factd writes to."""

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = folders

    def describe(self) -> Iterable[Metric]:
        """No families: registering must not look at disks."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Both families. A folder that does not exist yet counts as its parent's disk."""
        free = GaugeMetricFamily(
            "factd_disk_free_bytes", "Bytes free for factd.", labels=["folder"]
        )
        size = GaugeMetricFamily(
            "factd_disk_size_bytes", "Size of the disk in bytes.", labels=["folder"]
        )
        for name, folder in self.folders.items():
            existing = next(p for p in (folder, *folder.resolve().parents) if p.exists())
            usage = shutil.disk_usage(existing)
            free.add_metric([name], usage.free)
            size.add_metric([name], usage.total)
        yield free
        yield size


class Metrics:
    """A registry with all series. Counters start at 0."""

    def __init__(self, ledger: Ledger, versions: Versions, settings: MetricsSettings) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(StoreCollector(ledger.store, settings, ledger.now))
        registry.register(DiskCollector(settings.folders))
        registry.register(AdapterCollector.of(versions))
        ProcessCollector(registry=registry)
        self.runs = Counter(
            "factd_runs", "Runs of steps that ended.", ["step", "status"], registry=registry
        )
        self.missed = Counter(
            "factd_missed_ticks", "Ticks that were skipped.", ["step"], registry=registry
        )
        self.seconds = Histogram(
            "factd_step_seconds", "Duration of steps.", ["step"], buckets=BUCKETS, registry=registry
        )
        self.lines = Counter(
            "factd_lines",
            "Lines of sources, by what became of them.",
            ["outcome"],
            registry=registry,
        )
        self.restarts = Counter(
            "factd_worker_restarts",
            "Workers that were started again.",
            ["cause"],
            registry=registry,
        )
        self.leading = Gauge(
            "factd_leading", "1 while this daemon runs the schedule.", registry=registry
        )
        self._make_children()
        _add_settings(registry, settings)
        text = "Start of this daemon."
        started = Gauge("factd_start_timestamp_seconds", text, registry=registry)
        started.set(ledger.now().timestamp())

    def _make_children(self) -> None:
        for step in STEPS:
            self.missed.labels(step)
            self.seconds.labels(step)
            for status in (RunStatus.DONE, RunStatus.FAILED):
                self.runs.labels(step, status.value)
        for outcome in ("new", "unchanged", "bad"):
            self.lines.labels(outcome)
        for cause in CAUSES:
            self.restarts.labels(cause)

    def run_ended(self, step: str, status: RunStatus, seconds: float, run: int | None) -> None:
        """Count a run.

        Its id is the exemplar; `factd status --json` and the console show the same id.
        """
        exemplar = {"run": str(run)} if run is not None else None
        self.seconds.labels(step).observe(seconds, exemplar)
        self.runs.labels(step, status.value).inc(exemplar=exemplar)


def _add_settings(registry: CollectorRegistry, settings: MetricsSettings) -> None:
    """Add the series that do not change while a daemon runs."""
    text = "Seconds between ticks; 0: the step is off."
    intervals = Gauge("factd_interval_seconds", text, ["step"], registry=registry)
    for step, seconds in settings.intervals.items():
        intervals.labels(step).set(seconds)
    text = "Limit of [limits]; 0: no limit."
    limits = Gauge("factd_limit_per_day", text, ["what"], registry=registry)
    for what in LIMITED:
        limits.labels(what).set(settings.limits.get(what, 0))
    build = {"version": version("factd"), "python": platform.python_version()}
    _info(registry, "factd_build_info", "Version of factd and of Python.", build)
    text = "Digest of the settings that decide what is written; the same for all daemons."
    _info(registry, "factd_config_info", text, {"digest": settings.digest})


def _info(registry: CollectorRegistry, name: str, text: str, labels: Mapping[str, str]) -> None:
    Gauge(name, text, list(labels), registry=registry).labels(**labels).set(1)
