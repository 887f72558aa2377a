"""The first policy, pure: a report and thresholds in, a decision with its reasons out.

A candidate is refused where its edits do not take, where known facts suffer, where a number is none, and where too few
probes were asked to decide. An old report can be judged again with other thresholds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

Rows = Sequence[Mapping[str, Any]]  # measurements of a report, as JSON


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One threshold."""

    check: str
    metric: str
    least: float  # share, 0 to 1; 0 switches the gate off
    languages: tuple[str, ...]  # in each of which it must hold


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Accepted, or the reasons why not."""

    accepted: bool
    reasons: tuple[str, ...]


def judge(measurements: Rows, gates: Sequence[Gate], *, least_sample: int) -> Decision:
    """Accepted where every gate holds in each of its languages and every number is one."""
    found = {(m["check"], m["metric"], m["language"]): m for m in measurements}
    reasons = [
        f"{m['check']} {m['metric']} is no number ({m['language']})"
        for m in measurements
        if broken(m)
    ]
    for gate in gates:
        for language in gate.languages:
            reason = refusal(
                found.get((gate.check, gate.metric, language)), gate, language, least_sample
            )
            reasons += [reason] if reason else []
    return Decision(accepted=not reasons, reasons=tuple(reasons))


def broken(measurement: Mapping[str, Any]) -> bool:
    """The measurement's value is no number."""
    return measurement["value"] is None or isnan(measurement["value"])


def refusal(
    measurement: Mapping[str, Any] | None, gate: Gate, language: str, least_sample: int
) -> str | None:
    """Why a measurement does not pass a gate; None where it does."""
    if gate.least <= 0:
        return None
    name = f"{gate.check} {gate.metric} in {language}"
    if measurement is None or measurement["sample_size"] < least_sample:
        count = measurement["sample_size"] if measurement else 0
        return f"INCONCLUSIVE: {name} has {count} probes, {least_sample} are needed"
    if not broken(measurement) and measurement["value"] < gate.least:
        return f"{name} is {measurement['value']:.3f}, the gate asks for {gate.least:.2f}"
    return None
