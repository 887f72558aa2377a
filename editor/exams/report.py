"""A check report: all measurements, the answers about every fact, and the worst answers."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, isfinite
from types import ModuleType
from typing import Any

from factd.editor import plugins
from factd.editor.checks import Evidence, Measurement, ProbeAnswers
from factd.editor.deltas.delta import Delta
from factd.editor.exams.exam import AnswerCache, Exam, ExamResults, evidence_of, take_exam
from factd.editor.models.model import EditableModel
from factd.editor.scoring.intervals import Difference

EXAMPLES = 60  # in a report, about
OF_FACTS = ("edit", "paraphrase", "earlier")  # kinds of probes about facts that are written


@dataclass(frozen=True, kw_only=True)
class Example:
    """One probe with the answers of the base model and of the edited model."""

    kind: str
    language: str
    fact: str
    prompt: str
    expected: str
    before: str  # answer of the base model
    after: str  # answer of the edited model
    right: bool  # the answer of the edited model
    was_right: bool = False  # the answer of the base model
    probability: float | None = None  # e^-nll of the expected answer, edited model
    probability_before: float | None = None  # the same, base model


@dataclass(frozen=True, kw_only=True)
class FactAnswers:
    """How many questions about a written fact are answered right in one language."""

    fact: str
    language: str
    written: bool  # the fact was written in this language
    new: bool  # False: an earlier release wrote it
    asked: int
    right: int  # by the edited model
    before: int  # by the base model
    live: int | None  # by the live release
    unseen: int = 0  # questions in wordings that no edit used
    unseen_right: int = 0  # of these, answered right by the edited model


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Measurements without a verdict."""

    fingerprint: str  # of the base model
    delta_id: str | None  # None: the base model itself
    measurements: tuple[Measurement, ...]
    examples: tuple[Example, ...]  # worst first
    seconds: float
    facts: tuple[FactAnswers, ...] = ()
    # kind of probe -> probability of the expected answer (before, after), per probe
    points: Mapping[str, Sequence[tuple[float, float]]] | None = None

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values. NaN and infinity are written as null."""
        return _plain(asdict(self))  # type: ignore[no-any-return]  # a dict stays a dict

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "CheckReport":
        """The report from what `as_json` gave."""
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
        """One measurement; None if it was not made."""
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
    """Put an exam to the base model and to the edited model, and run every check.

    base: results of the base model, if it took the exam already. live: results of the live release
    in the same exam, to compare with. cache: earlier answers of the edited model. With delta None
    the base model is reported on.

    Raises: WrongModel: the delta was computed for other weights.
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
    """The report of all checks on the evidence. seconds: that collecting it took."""
    started = time.monotonic()
    measurements = [m for check in _checks().values() for m in check.check(evidence)]
    return CheckReport(
        fingerprint=fingerprint,
        delta_id=delta.id if delta else None,
        measurements=tuple(measurements),
        examples=examples(evidence),
        facts=fact_answers(evidence),
        points=probability_pairs(evidence),
        seconds=seconds + time.monotonic() - started,
    )


def _checks() -> dict[str, ModuleType]:
    """The modules of all checks, by name."""
    package = "factd.editor.checks"
    return {name: plugins.load(package, name) for name in plugins.names(package)}


def probe_kinds() -> dict[str, tuple[str, ...]]:
    """The kinds of probe that each check measures, by the check's name.

    Checks that measure no answers to probes are left out.
    """
    return {name: tuple(check.KINDS) for name, check in _checks().items() if check.KINDS}


def fact_answers(evidence: Evidence) -> tuple[FactAnswers, ...]:
    """The answers about every written fact, by language, the largest share of wrong ones first."""
    rows: dict[tuple[str, str], list[ProbeAnswers]] = {}
    for row in evidence.answers_to(*OF_FACTS):
        rows.setdefault((row.probe.fact, row.probe.language), []).append(row)
    counted = [_answers_of(fact, language, asked) for (fact, language), asked in rows.items()]
    return tuple(sorted(counted, key=lambda f: (f.right / f.asked, f.fact, f.language)))


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
    """The probability of the expected answer, (before, after), of every probe, by its kind."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for row in evidence.answers_to("edit", "paraphrase", "earlier", "neighbourhood", "known"):
        pair = (probability(row.before.target_nll), probability(row.after.target_nll))
        pairs.setdefault(row.probe.kind, []).append(pair)
    return pairs


def probability(nll: float) -> float:
    """e^-nll, rounded to four decimals; 0 if nll is not finite."""
    return round(exp(-nll), 4) if isfinite(nll) else 0.0


def examples(evidence: Evidence) -> tuple[Example, ...]:
    """Some answers of every kind and language, worst first.

    First those that became wrong, then those that were wrong before, then the right ones.
    """
    kinds = sorted({(p.kind, p.language) for p in evidence.probes})
    each = max(1, EXAMPLES // max(1, len(kinds)))
    chosen: list[ProbeAnswers] = []
    for kind, language in kinds:
        rows = [row for row in evidence.answers_to(kind) if row.probe.language == language]
        chosen += sorted(rows, key=_worst_first)[:each]
    return tuple(_example(row) for row in sorted(chosen, key=_worst_first))


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
