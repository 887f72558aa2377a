"""A check report: every measurement, what became of every fact, the worst answers, and what was measured."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, isfinite
from typing import Any

from factd.editor import plugins
from factd.editor.checks import Evidence, Measurement, ProbeAnswers
from factd.editor.deltas.delta import Delta
from factd.editor.exams.exam import AnswerCache, Exam, ExamResults, evidence_of, take_exam
from factd.editor.models.model import EditableModel
from factd.editor.scoring.intervals import Difference

EXAMPLES = 60
OF_FACTS = ("edit", "paraphrase", "earlier")  # kinds of probes about facts that are written


@dataclass(frozen=True, kw_only=True)
class Example:
    """One probe with what the model said before and after."""

    kind: str
    language: str
    fact: str
    prompt: str
    expected: str
    before: str
    after: str
    right: bool
    was_right: bool = False  # by the base model
    probability: float | None = None  # e^-nll of what is expected, after
    probability_before: float | None = None


@dataclass(frozen=True, kw_only=True)
class FactAnswers:
    """How many of the questions about a written fact are answered right in one language."""

    fact: str
    language: str
    written: bool  # in this language
    new: bool  # False: an earlier release wrote it
    asked: int
    right: int
    before: int
    live: int | None
    unseen: int = 0  # of the questions, those in wordings that no edit used
    unseen_right: int = 0


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Measurements without a verdict."""

    fingerprint: str  # of the base model
    delta_id: str | None  # None: the base model itself
    measurements: tuple[Measurement, ...]
    examples: tuple[Example, ...]  # the worst first
    seconds: float
    facts: tuple[FactAnswers, ...] = ()
    points: Mapping[str, Sequence[tuple[float, float]]] | None = None  # kind -> (before, after)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON; numbers that are none become null."""
        return _plain(asdict(self))  # type: ignore[no-any-return]  # a dict stays a dict

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CheckReport":
        """The report that `as_json` wrote."""
        return cls(
            fingerprint=data["fingerprint"],
            delta_id=data["delta_id"],
            measurements=tuple(measurement_from(row) for row in data["measurements"]),
            examples=tuple(Example(**row) for row in data["examples"]),
            seconds=data["seconds"],
            facts=tuple(FactAnswers(**row) for row in data.get("facts", ())),
            points={k: [(b, a) for b, a in v] for k, v in (data.get("points") or {}).items()},
        )

    def value(self, check: str, metric: str, language: str) -> Measurement | None:
        """One measurement, if it was made."""
        wanted = (check, metric, language)
        return next(
            (m for m in self.measurements if (m.check, m.metric, m.language) == wanted), None
        )


def measurement_from(row: Mapping[str, Any]) -> Measurement:
    """A measurement from its JSON."""
    against = {
        name: Difference(**_numbers(row[name])) for name in ("to_base", "to_live") if row.get(name)
    }
    return Measurement(**(_numbers(row) | against))


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    needed = ("value", "low", "high", "p_value")
    return {k: float("nan") if v is None and k in needed else v for k, v in row.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def run_checks(
    model: EditableModel,
    exam: Exam,
    *,
    delta: Delta | None = None,
    terminator: str = "",
    base: ExamResults | None = None,
    live: ExamResults | None = None,
    cache: AnswerCache | None = None,
) -> CheckReport:
    """Put an exam to the base model (or take its results) and to the edited one, and run every check.

    live: what the live release made of the same exam, where there is one to compare with. memory: of the edited model.
    """
    started = time.monotonic()
    before = base or take_exam(model, exam, terminator=terminator)
    after = before
    if delta is not None:
        after = take_exam(model, exam, delta=delta, terminator=terminator, cache=cache)
    evidence = evidence_of(exam, before, after, live, delta.diagnostics if delta else {})
    return report_on(evidence, model.fingerprint, delta, time.monotonic() - started)


def report_on(
    evidence: Evidence, fingerprint: str, delta: Delta | None, seconds: float
) -> CheckReport:
    """What the checks find in the evidence."""
    started = time.monotonic()
    found = [
        m
        for name in plugins.names("factd.editor.checks")
        for m in plugins.load("factd.editor.checks", name).check(evidence)
    ]
    return CheckReport(
        fingerprint=fingerprint,
        delta_id=delta.id if delta else None,
        measurements=tuple(found),
        examples=examples(evidence),
        facts=fact_answers(evidence),
        points=probability_pairs(evidence),
        seconds=seconds + time.monotonic() - started,
    )


def fact_answers(evidence: Evidence) -> tuple[FactAnswers, ...]:
    """Every fact that is asked about, by language, those with the most wrong answers first."""
    rows: dict[tuple[str, str], list[ProbeAnswers]] = {}
    for row in evidence.answers_to(*OF_FACTS):
        rows.setdefault((row.probe.fact, row.probe.language), []).append(row)
    found = [_answers_of(fact, language, asked) for (fact, language), asked in rows.items()]
    return tuple(sorted(found, key=lambda f: (f.right / f.asked, f.fact, f.language)))


def _answers_of(fact: str, language: str, asked: Sequence[ProbeAnswers]) -> FactAnswers:
    live = [row.live.right for row in asked if row.live is not None]
    return FactAnswers(
        fact=fact,
        language=language,
        written=language in asked[0].probe.written_in,
        new=all(row.probe.kind != "earlier" for row in asked),
        asked=len(asked),
        right=sum(row.after.right for row in asked),
        before=sum(row.before.right for row in asked),
        live=sum(live) if live else None,
        unseen=sum(row.probe.kind == "paraphrase" for row in asked),
        unseen_right=sum(row.probe.kind == "paraphrase" and row.after.right for row in asked),
    )


def probability_pairs(evidence: Evidence) -> dict[str, list[tuple[float, float]]]:
    """The probability of what is expected, before and after, of every probe by kind."""
    found: dict[str, list[tuple[float, float]]] = {}
    for row in evidence.answers_to("edit", "paraphrase", "earlier", "neighbourhood", "known"):
        pair = (probability(row.before.target_nll), probability(row.after.target_nll))
        found.setdefault(row.probe.kind, []).append(pair)
    return found


def probability(nll: float) -> float:
    """e^-nll, four decimals; 0 where it is no number."""
    return round(exp(-nll), 4) if isfinite(nll) else 0.0


def examples(evidence: Evidence) -> tuple[Example, ...]:
    """Some answers of every kind and language: those that became wrong first, then the wrong ones, then the others."""
    kinds = sorted({(p.kind, p.language) for p in evidence.probes})
    each = max(1, EXAMPLES // max(1, len(kinds)))
    found: list[ProbeAnswers] = []
    for kind, language in kinds:
        rows = [row for row in evidence.answers_to(kind) if row.probe.language == language]
        found += sorted(rows, key=_worst_first)[:each]
    return tuple(_example(row) for row in sorted(found, key=_worst_first))


def _worst_first(row: ProbeAnswers) -> tuple[bool, bool]:
    return row.after.right, not row.before.right


def _example(row: ProbeAnswers) -> Example:
    return Example(
        kind=row.probe.kind,
        language=row.probe.language,
        fact=row.probe.fact,
        prompt=row.probe.prompt,
        expected=row.probe.target,
        before=row.before.text,
        after=row.after.text,
        right=row.after.right,
        was_right=row.before.right,
        probability=probability(row.after.target_nll),
        probability_before=probability(row.before.target_nll),
    )
