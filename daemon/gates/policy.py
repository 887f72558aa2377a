"""The policy, pure: a report and gates in, a decision with its reasons out. An old report can be judged again with other gates.

Three outcomes of a gate. *fail*: the number is out of bounds (of a gate that doubt
passes: its whole 95 % interval is). *inconclusive*: the number is within them, but too few
probes were asked, or its 95 % interval reaches further than `surely` allows. *pass*: neither. A candidate is accepted where
every gate passes and every number of its report is one; so what was not measured well enough is not published.

Differences are on the same probes (McNemar, paired bootstrap: editor/scoring/intervals.py), to the base model or to the live release.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from math import isnan, nan
from typing import Any, Literal

Row = Mapping[str, Any]  # a measurement of a report, as JSON
Report = Mapping[str, Any]


class Verdict(StrEnum):
    """What a gate says."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One threshold on one measurement in one language."""

    name: str
    check: str
    metric: str  # a pattern: "layer.*.leverage_max"
    against: Literal["value", "base", "live"] = "value"  # the number itself, or what it lost
    more_is_better: bool = True
    bound: float  # the least value; the most where less is better, or of a loss
    surely: float | None = None  # what the bad end of the 95 % interval must keep to
    doubt_passes: bool = False  # it fails only where the good end is out of bounds too
    sample: int = 1  # probes; with fewer nothing is decided
    language: str | None = None  # None: every one that was measured
    of: Literal["new", "earlier", "any"] = "any"  # facts without which there is nothing to judge

    @property
    def at_least(self) -> bool:
        """The number must be at least the bound; else at most."""
        return self.against == "value" and self.more_is_better


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a gate said of a measurement."""

    gate: str
    check: str
    metric: str
    language: str
    against: str
    verdict: Verdict
    value: float | None
    bound: float
    sample_size: int
    sentence: str
    facts: tuple[str, ...] = ()  # that it is about, where it is about some

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return {**asdict(self), "verdict": self.verdict.value, "facts": list(self.facts)}


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Accepted, or the reasons why not."""

    accepted: bool
    reasons: tuple[str, ...]
    findings: tuple[Finding, ...] = ()

    @property
    def failed(self) -> tuple[Finding, ...]:
        """What did not pass."""
        return tuple(f for f in self.findings if f.verdict is not Verdict.PASS)

    @property
    def verdict(self) -> Verdict:
        """Of all together."""
        if self.accepted:
            return Verdict.PASS
        sure = any(f.verdict is Verdict.FAIL for f in self.findings)
        return Verdict.FAIL if sure else Verdict.INCONCLUSIVE


def judge(report: Report, gates: Sequence[Gate], *, fact_right: float = 0.0) -> Decision:
    """Accepted where every gate passes and every number is one.

    fact_right: the least share of right answers, and of those in unseen wordings, that each new fact must have in each
    language it was written in.
    """
    findings = [
        *_no_numbers(report["measurements"]),
        *(found for gate in gates for found in _of_gate(gate, report)),
        *_of_facts(report, fact_right),
    ]
    reasons = tuple(f.sentence for f in findings if f.verdict is not Verdict.PASS)
    return Decision(accepted=not reasons, reasons=reasons, findings=tuple(findings))


def _no_numbers(rows: Sequence[Row]) -> Iterator[Finding]:
    for row in rows:
        if is_none(row["value"]):
            name = f"{row['check']} {row['metric']}"
            yield Finding(
                gate="numbers",
                check=row["check"],
                metric=row["metric"],
                language=row["language"],
                against="value",
                verdict=Verdict.FAIL,
                value=None,
                bound=nan,
                sample_size=row["sample_size"],
                sentence=f"{name} is no number ({row['language']})",
            )


def is_none(value: float | None) -> bool:
    """There is no number."""
    return value is None or isnan(value)


def _of_gate(gate: Gate, report: Report) -> Iterator[Finding]:
    """What a gate says of every measurement that it is about."""
    rows = [row for row in report["measurements"] if _is_about(gate, row)]
    if not rows and gate.language and _applies(gate, report):
        text = f"INCONCLUSIVE: {_name(gate, gate.metric, gate.language)} was not measured, {gate.sample} probes are needed"
        yield _finding(gate, None, Verdict.INCONCLUSIVE, text)
    for row in rows:
        if not is_none(row["value"]):
            yield _judged(gate, row)


def _is_about(gate: Gate, row: Row) -> bool:
    return (
        row["check"] == gate.check
        and fnmatchcase(row["metric"], gate.metric)
        and gate.language in (None, row["language"])
    )


def _applies(gate: Gate, report: Report) -> bool:
    """The release has facts of the kind that the gate is about; a report that does not tell has."""
    facts = report.get("facts")
    if gate.of == "any" or facts is None:
        return gate.of != "earlier"
    return any(row["new"] is (gate.of == "new") for row in facts)


def _judged(gate: Gate, row: Row) -> Finding:
    numbers = measured(gate, row)
    name = _name(gate, row["metric"], row["language"])
    if numbers is None:
        text = f"INCONCLUSIVE: {name}: the report has no comparison with the {_other(gate)}"
        return _finding(gate, row, Verdict.INCONCLUSIVE, text)
    value, near, far = numbers
    asks = f"the gate asks for {'at least' if gate.at_least else 'at most'} {gate.bound:.3g}"
    if row["sample_size"] < gate.sample:
        text = f"{name} has {row['sample_size']} probes, {gate.sample} are needed"
        if gate.doubt_passes:
            return _finding(gate, row, Verdict.PASS, f"{text}; doubt passes", value)
        return _finding(gate, row, Verdict.INCONCLUSIVE, f"INCONCLUSIVE: {text}", value)
    if _beyond(gate, near if gate.doubt_passes else value, gate.bound):
        text = f"{name} is {value:.3f}, {asks}"
        return _finding(gate, row, Verdict.FAIL, text, value)
    if gate.surely is not None and _beyond(gate, far, gate.surely):
        text = (
            f"INCONCLUSIVE: {name} is {value:.3f} of {row['sample_size']}, but may be {far:.3f}; "
            f"{gate.surely:.3g} must be sure"
        )
        return _finding(gate, row, Verdict.INCONCLUSIVE, text, value)
    return _finding(gate, row, Verdict.PASS, f"{name} is {value:.3f}, {asks}", value)


def measured(gate: Gate, row: Row) -> tuple[float, float, float] | None:
    """The number that a gate judges, and the good and the bad end of its 95 % interval; None: not compared."""
    found = row if gate.against == "value" else row.get(f"to_{gate.against}")
    if not found or is_none(found["value"]):
        return None
    value = found["value"]
    low, high = _known(found["low"], value), _known(found["high"], value)
    if gate.against == "value":
        return (value, high, low) if gate.more_is_better else (value, low, high)
    return (-value, -high, -low) if gate.more_is_better else (value, low, high)


def _known(end: float | None, value: float) -> float:
    """The end of an interval; the value itself where there is none, as of norms."""
    return value if end is None or isnan(end) else end


def _beyond(gate: Gate, value: float, bound: float) -> bool:
    return value < bound if gate.at_least else value > bound


def _name(gate: Gate, metric: str, language: str) -> str:
    name = f"{gate.check} {metric} in {language}"
    return name if gate.against == "value" else f"{name}, lost to the {_other(gate)},"


def _other(gate: Gate) -> str:
    return "base model" if gate.against == "base" else "live release"


def _finding(
    gate: Gate, row: Row | None, verdict: Verdict, sentence: str, value: float | None = None
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


def _of_facts(report: Report, least: float) -> Iterator[Finding]:
    """New facts that were written in a language and do not answer there."""
    if least <= 0:
        return
    yield from _of_earlier(report)
    rows = [row for row in report.get("facts") or () if row["new"] and row["written"]]
    for language in sorted({row["language"] for row in rows}):
        mine = [row for row in rows if row["language"] == language]
        shares = [answered(row) for row in mine]
        lost = [row for row, share in zip(mine, shares, strict=True) if share < least]
        text = f"{len(lost)} of {len(mine)} new facts are not answered in {language}"
        said = "; ".join(f"{r['fact']} {r['right']} of {r['asked']}" for r in lost[:5])
        yield Finding(
            gate="fact_right",
            check="facts",
            metric="right",
            language=language,
            against="value",
            verdict=Verdict.FAIL if lost else Verdict.PASS,
            value=min(shares),
            bound=least,
            sample_size=len(mine),
            sentence=f"{text} ({said})" if lost else f"every new fact is answered in {language}",
            facts=tuple(row["fact"] for row in lost),
        )


def answered(row: Row) -> float:
    """The share of a fact's questions that are answered right, or of those in unseen wordings where that is less.

    What is said to its own prompts alone is repeated, not known.
    """
    share: float = row["right"] / row["asked"]
    unseen: int = row.get("unseen", 0)
    return min(share, row["unseen_right"] / unseen) if unseen else share


def _of_earlier(report: Report) -> Iterator[Finding]:
    """Facts of the live release all of whose answers were right, and none is any more."""
    rows = [row for row in report.get("facts") or () if not row["new"] and row["written"]]
    for language in sorted({row["language"] for row in rows}):
        mine = [r for r in rows if r["language"] == language and r.get("live") == r["asked"]]
        lost = [row for row in mine if not row["right"]]
        said = ", ".join(row["fact"] for row in lost[:5])
        text = f"{len(lost)} of {len(mine)} facts of the live release are lost in {language}"
        kept = f"no fact of the live release is lost in {language}"
        yield Finding(
            gate="earlier_lost",
            check="retention",
            metric="facts",
            language=language,
            against="live",
            verdict=Verdict.FAIL if lost else Verdict.PASS,
            value=float(len(lost)),
            bound=0.0,
            sample_size=len(mine),
            sentence=f"{text} ({said})" if lost else kept,
        )
