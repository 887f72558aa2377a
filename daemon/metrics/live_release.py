"""The series of the live release: measurements of its checks, today's gates applied to them,
capacity used.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from factd.daemon.gates import policy
from factd.daemon.gates.policy import Finding, Gate, GateVerdict
from factd.daemon.metrics.settings import MetricsSettings
from factd.store.model.figures import LiveFigures

NORMS = ("leverage_max", "weight_norm_ratio", "update_norm_ratio")  # measured in each edited layer


def live_families(
    report: Mapping[str, Any], live: LiveFigures | None, settings: MetricsSettings
) -> Iterator[Metric]:
    """The families of a release's report.

    Labels are checks, metrics, gates, layers and languages.
    """
    facts = live.facts if live else 0
    at = live.live_at.timestamp() if live and live.live_at else 0.0
    text = "Number of the live release; -1: no release is live."
    yield GaugeMetricFamily("factd_live_release", text, live.number if live else -1)
    yield GaugeMetricFamily("factd_live_release_timestamp_seconds", "When it went live.", at)
    yield GaugeMetricFamily("factd_live_facts", "Number of facts of the live release.", facts)
    text = "Number of the base that the live release stands on; 0: the original model."
    yield GaugeMetricFamily("factd_base", text, live.base if live else 0)
    text = "Facts of the live release over [planning] capacity, without those baked into its base."
    yield GaugeMetricFamily("factd_capacity_used_ratio", text, facts / settings.capacity)
    rows = [row for row in report.get("measurements", ()) if row["value"] is not None]
    yield _measurements([row for row in rows if row["check"] != "norms"])
    norms = {row["metric"]: row["value"] for row in rows if row["check"] == "norms"}
    for name in NORMS:
        yield _by_layer(name, norms)
    for name in ("z_error_mean", "z_error_max"):
        text = "Relative error of the written values z of the live release."
        family = GaugeMetricFamily(f"factd_{name}_ratio", text, labels=[])
        if name in norms:
            family.add_metric([], norms[name])
        yield family
    yield from _gates(report, settings)


def _measurements(rows: Sequence[Mapping[str, Any]]) -> GaugeMetricFamily:
    labels = ["check", "metric", "language"]
    family = GaugeMetricFamily(
        "factd_live_measurement", "A measurement of the live release.", labels=labels
    )
    for row in rows:
        family.add_metric([row[name] for name in labels], row["value"])
    return family


def _by_layer(name: str, norms: Mapping[str, float]) -> GaugeMetricFamily:
    """A family with a sample for each layer: `layer.7.leverage_max` of a report has layer="7"."""
    text = f"{name.replace('_', ' ')} of an edited layer of the live release."
    family = GaugeMetricFamily(f"factd_layer_{name}", text, labels=["layer"])
    for key, value in norms.items():
        word, _, rest = key.partition(".")
        layer, _, metric = rest.partition(".")
        if word == "layer" and metric == name:
            family.add_metric([layer], value)
    return family


def _gates(report: Mapping[str, Any], settings: MetricsSettings) -> Iterator[Metric]:
    """The gates as they are configured now, applied to the measurements of the report."""
    labels = ["gate", "language"]
    text = "1 if the live release passes the gate as it is configured now."
    passes = GaugeMetricFamily("factd_live_gate_passes", text, labels=labels)
    text = "Distance of a gate's number to its bound; below 0: the gate fails."
    margins = GaugeMetricFamily("factd_live_gate_margin", text, labels=labels)
    findings = judged(report, settings)
    for key in sorted({(f.gate, f.language) for f in findings}):
        mine = [f for f in findings if (f.gate, f.language) == key]
        passes.add_metric(key, float(all(f.verdict is GateVerdict.PASS for f in mine)))
        inside = [m for m in (margin(f, settings.gates) for f in mine) if m is not None]
        if inside:
            margins.add_metric(key, min(inside))
    yield passes
    yield margins


def judged(report: Mapping[str, Any], settings: MetricsSettings) -> tuple[Finding, ...]:
    """The findings of the gates on a report; empty if nothing was measured."""
    if not report.get("measurements"):
        return ()
    return policy.judge(report, settings.gates, fact_right=settings.fact_right).findings


def margin(finding: Finding, gates: Sequence[Gate]) -> float | None:
    """The distance to the bound, positive if the gate passes; None if nothing was measured."""
    if finding.value is None or finding.bound != finding.bound:
        return None
    least = any(g.name == finding.gate and g.at_least for g in gates)
    least = least or finding.gate == "fact_right"
    return finding.value - finding.bound if least else finding.bound - finding.value
