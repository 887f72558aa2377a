"""The policy, pure: a report and gates in, a decision with its reasons out.

An old report can be judged again with other gates.

A gate has three outcomes. *fail*: the number is out of bounds; for a gate that doubt passes, the
whole 95 % interval is out of bounds. *inconclusive*: the number is within its bounds, but too few
probes were asked, or the 95 % interval reaches further than `surely` allows. *pass*: neither. A
candidate is accepted if every gate passes and every number of its report is a number. What was not
measured well enough is therefore not published.

Differences to the base model or to the live release are measured on the same probes (McNemar,
paired bootstrap: editor/scoring/intervals.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from math import isnan, nan
from typing import Any, Literal

Row = Mapping[str, Any]  # a measurement of a report, or its row about a fact, as JSON
Report = Mapping[str, Any]


class GateVerdict(StrEnum):
    """The outcome of a gate, or of all gates together."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One threshold on one measurement in one language."""

    name: str
    check: str
    metric: str  # a pattern: "layer.*.leverage_max"
    against: Literal["value", "base", "live"] = "value"  # the number itself, or the loss against it
    more_is_better: bool = True
    bound: float  # the least value; the greatest if less is better, or of a loss
    surely: float | None = None  # the bound for the bad end of the 95 % interval
    doubt_passes: bool = False  # the gate fails only if the good end is out of bounds too
    sample: int = 1  # probes; with fewer the gate is inconclusive
    language: str | None = None  # None: every language that was measured
    of: Literal["new", "earlier", "any"] = "any"  # without such facts there is nothing to judge

    @property
    def at_least(self) -> bool:
        """Whether the number must be at least the bound. If not, it must be at most the bound."""
        return self.against == "value" and self.more_is_better


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one gate for one measurement."""

    gate: str
    check: str
    metric: str
    language: str
    against: str
    verdict: GateVerdict
    value: float | None
    bound: float
    sample_size: int
    sentence: str
    facts: tuple[str, ...] = ()  # ids of the facts that failed, if the gate judges single facts

    def as_json(self) -> dict[str, Any]:
        """The finding as a report stores it."""
        return {**asdict(self), "verdict": self.verdict.value, "facts": list(self.facts)}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Accepted, or the reasons why not."""

    accepted: bool
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> tuple[Finding, ...]:
        """The findings that did not pass."""
        return tuple(f for f in self.findings if f.verdict is not GateVerdict.PASS)

    @property
    def verdict(self) -> GateVerdict:
        """The outcome of all gates together."""
        if self.accepted:
            return GateVerdict.PASS
        is_sure = any(f.verdict is GateVerdict.FAIL for f in self.findings)
        return GateVerdict.FAIL if is_sure else GateVerdict.INCONCLUSIVE


def judge(report: Report, gates: Sequence[Gate], *, fact_right: float = 0.0) -> Decision:
    """The decision on a report: accepted if every gate passes and every number is a number.

    fact_right: the share of right answers that each new fact needs in each language it was written
    in, over all its questions and over those in unseen wordings.
    """
    findings = [
        *_missing_numbers(report["measurements"]),
        *(finding for gate in gates for finding in _gate_findings(gate, report)),
        *_fact_findings(report, fact_right),
    ]
    reasons = tuple(f.sentence for f in findings if f.verdict is not GateVerdict.PASS)
    return Decision(accepted=not reasons, reasons=reasons, findings=tuple(findings))


def _missing_numbers(rows: Sequence[Row]) -> Iterator[Finding]:
    for row in rows:
        if is_missing(row["value"]):
            name = f"{row['check']} {row['metric']}"
            yield Finding(
                gate="numbers",
                check=row["check"],
                metric=row["metric"],
                language=row["language"],
                against="value",
                verdict=GateVerdict.FAIL,
                value=None,
                bound=nan,
                sample_size=row["sample_size"],
                sentence=f"{name} is not a number ({row['language']})",
            )


def is_missing(value: float | None) -> bool:
    """Whether a measurement has no number: None or NaN."""
    return value is None or isnan(value)


def _gate_findings(gate: Gate, report: Report) -> Iterator[Finding]:
    """A finding for every measurement that the gate judges."""
    rows = [row for row in report["measurements"] if _is_about(gate, row)]
    if not rows and gate.language and _applies(gate, report):
        name = _measurement_name(gate, gate.metric, gate.language)
        text = f"INCONCLUSIVE: {name} was not measured, {gate.sample} probes are needed"
        yield _finding(gate, None, GateVerdict.INCONCLUSIVE, text)
    for row in rows:
        if not is_missing(row["value"]):
            yield _judged(gate, row)


def _is_about(gate: Gate, row: Row) -> bool:
    return (
        row["check"] == gate.check
        and fnmatchcase(row["metric"], gate.metric)
        and gate.language in (None, row["language"])
    )


def _applies(gate: Gate, report: Report) -> bool:
    """Whether the release has facts of the kind that the gate needs.

    A report without facts counts as one with new facts and without earlier ones.
    """
    facts = report.get("facts")
    if gate.of == "any" or facts is None:
        return gate.of != "earlier"
    return any(row["new"] is (gate.of == "new") for row in facts)


def _judged(gate: Gate, row: Row) -> Finding:
    numbers = judged_numbers(gate, row)
    name = _measurement_name(gate, row["metric"], row["language"])
    if numbers is None:
        text = f"INCONCLUSIVE: {name}: the report has no comparison with the {_reference(gate)}"
        return _finding(gate, row, GateVerdict.INCONCLUSIVE, text)
    value, good_end, bad_end = numbers
    asks = f"the gate asks for {'at least' if gate.at_least else 'at most'} {gate.bound:.3g}"
    if row["sample_size"] < gate.sample:
        text = f"{name} has {row['sample_size']} probes, {gate.sample} are needed"
        if gate.doubt_passes:
            return _finding(gate, row, GateVerdict.PASS, f"{text}; doubt passes", value)
        return _finding(gate, row, GateVerdict.INCONCLUSIVE, f"INCONCLUSIVE: {text}", value)
    if _is_out_of_bounds(gate, good_end if gate.doubt_passes else value, gate.bound):
        return _finding(gate, row, GateVerdict.FAIL, f"{name} is {value:.3f}, {asks}", value)
    if gate.surely is not None and _is_out_of_bounds(gate, bad_end, gate.surely):
        text = (
            f"INCONCLUSIVE: {name} is {value:.3f} of {row['sample_size']}, "
            f"but may be {bad_end:.3f}; {gate.surely:.3g} must be sure"
        )
        return _finding(gate, row, GateVerdict.INCONCLUSIVE, text, value)
    return _finding(gate, row, GateVerdict.PASS, f"{name} is {value:.3f}, {asks}", value)


def judged_numbers(gate: Gate, row: Row) -> tuple[float, float, float] | None:
    """The number that a gate judges, and the good and the bad end of its 95 % interval.

    None: the report does not compare with the base model or live release that the gate asks for.
    """
    measured = row if gate.against == "value" else row.get(f"to_{gate.against}")
    if not measured or is_missing(measured["value"]):
        return None
    value = measured["value"]
    low, high = _end(measured["low"], value), _end(measured["high"], value)
    if gate.against == "value":
        return (value, high, low) if gate.more_is_better else (value, low, high)
    return (-value, -high, -low) if gate.more_is_better else (value, low, high)


def _end(end: float | None, value: float) -> float:
    """The end of an interval, or the value itself if it has no interval, as norms have none."""
    return value if end is None or isnan(end) else end


def _is_out_of_bounds(gate: Gate, value: float, bound: float) -> bool:
    return value < bound if gate.at_least else value > bound


def _measurement_name(gate: Gate, metric: str, language: str) -> str:
    name = f"{gate.check} {metric} in {language}"
    return name if gate.against == "value" else f"{name}, lost to the {_reference(gate)},"


def _reference(gate: Gate) -> str:
    return "base model" if gate.against == "base" else "live release"


def _finding(
    gate: Gate, row: Row | None, verdict: GateVerdict, sentence: str, value: float | None = None
) -> Finding:
    return Finding(
        gate=gate.name,
        check=gate.check,
        metric=row["metric"] if row else gate.metric,
        language=row["language"] if row else str(gate.language),
        against=gate.against,
        verdict=verdict,
        value=value,
        bound=gate.bound,
        sample_size=row["sample_size"] if row else 0,
        sentence=sentence,
    )


def _fact_findings(report: Report, least: float) -> Iterator[Finding]:
    """A finding per language: which new facts were written in it and are not answered there."""
    if least <= 0:
        return
    yield from _earlier_fact_findings(report)
    rows = [row for row in report.get("facts") or () if row["new"] and row["written"]]
    for language in sorted({row["language"] for row in rows}):
        new = [row for row in rows if row["language"] == language]
        shares = [share_right(row) for row in new]
        lost = [row for row, share in zip(new, shares, strict=True) if share < least]
        text = f"{len(lost)} of {len(new)} new facts are not answered in {language}"
        details = "; ".join(f"{r['fact']} {r['right']} of {r['asked']}" for r in lost[:5])
        yield Finding(
            gate="fact_right",
            check="facts",
            metric="right",
            language=language,
            against="value",
            verdict=GateVerdict.FAIL if lost else GateVerdict.PASS,
            value=min(shares),
            bound=least,
            sample_size=len(new),
            sentence=f"{text} ({details})" if lost else f"every new fact is answered in {language}",
            facts=tuple(row["fact"] for row in lost),
        )


def share_right(row: Row) -> float:
    """The share of a fact's questions that are answered right, in unseen wordings if that is less.

    A fact that only its own prompts bring up is repeated, not known.
    """
    share: float = row["right"] / row["asked"]
    unseen: int = row.get("unseen", 0)
    return min(share, row["unseen_right"] / unseen) if unseen else share


def _earlier_fact_findings(report: Report) -> Iterator[Finding]:
    """A finding per language: the facts that the candidate has lost,
    all of whose answers were right in the live release."""
    rows = [row for row in report.get("facts") or () if not row["new"] and row["written"]]
    for language in sorted({row["language"] for row in rows}):
        held = [r for r in rows if r["language"] == language and r.get("live") == r["asked"]]
        lost = [row for row in held if not row["right"]]
        ids = ", ".join(row["fact"] for row in lost[:5])
        text = f"{len(lost)} of {len(held)} facts of the live release are lost in {language}"
        none_lost = f"no fact of the live release is lost in {language}"
        yield Finding(
            gate="earlier_lost",
            check="retention",
            metric="facts",
            language=language,
            against="live",
            verdict=GateVerdict.FAIL if lost else GateVerdict.PASS,
            value=float(len(lost)),
            bound=0.0,
            sample_size=len(held),
            sentence=f"{text} ({ids})" if lost else none_lost,
        )
