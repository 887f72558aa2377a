"""Checks: what an edit changed, and what it left as it was.

Each file is one check: a function `check`, and KINDS, the kinds of probe whose answers it measures.
A check measures and never judges; the gates do that (daemon/gates/policy.py). Every number has
beside it the same number of the base model and, if there is one, of the live release, on the same
probes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite, nan
from statistics import fmean
from typing import Protocol

from factd.editor.scoring.drift import TextScores
from factd.editor.scoring.intervals import (
    Difference,
    mean_difference,
    mean_interval,
    share_difference,
    wilson_interval,
)
from factd.editor.scoring.score import Answer, Probe

Rankings = Sequence[Sequence[int]]  # per question the indices of its candidates, likeliest first


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with its uncertainty."""

    check: str
    metric: str  # success, accuracy, magnitude, generation, … (docs/explanation/editing.md §5)
    language: str  # BCP 47; "all" for no or every language, "en→es" and "en~es" for two
    value: float
    low: float  # 95 % confidence
    high: float
    sample_size: int
    before: float | None = None  # value of the base model
    live: float | None = None  # value of the live release
    to_base: Difference | None = None  # value - before
    to_live: Difference | None = None  # value - live


@dataclass(frozen=True, kw_only=True)
class ProbeAnswers:
    """One probe with the answers of all models."""

    probe: Probe
    before: Answer  # of the base model
    after: Answer  # of the edited model
    live: Answer | None = None  # of the live release


@dataclass(frozen=True, kw_only=True)
class RankingEvidence:
    """How the models rank the candidates of the same questions in one language."""

    before: Rankings
    after: Rankings
    live: Rankings | None = None


@dataclass(frozen=True, kw_only=True)
class TextEvidence:
    """Scores of the models on the same held-out texts of one language."""

    after: TextScores
    live: TextScores | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One exam, taken by the base model, the live release and the edited model."""

    probes: tuple[Probe, ...]
    before: tuple[Answer, ...]  # of the base model, in the order of the probes
    after: tuple[Answer, ...]  # of the edited model
    live: tuple[Answer, ...] | None = None  # of the live release
    texts: Mapping[str, TextEvidence] = field(default_factory=dict)  # by language
    ranked: Mapping[str, RankingEvidence] = field(default_factory=dict)  # by language
    diagnostics: Mapping[str, float] = field(default_factory=dict)  # of the delta

    def answers_to(self, *kinds: str) -> tuple[ProbeAnswers, ...]:
        """The probes of these kinds with their answers, in the order of the probes."""
        live = self.live or [None] * len(self.probes)
        rows = zip(self.probes, self.before, self.after, live, strict=True)
        return tuple(
            ProbeAnswers(probe=p, before=b, after=a, live=v)
            for p, b, a, v in rows
            if p.kind in kinds
        )


class Check(Protocol):
    """A function that measures one thing."""

    def __call__(self, evidence: Evidence) -> tuple[Measurement, ...]:
        """The measurements; none if the evidence has no probe for this check."""
        ...


AnswerTest = Callable[[ProbeAnswers, Answer], bool]  # is this answer to the probe a hit?
AnswerSize = Callable[[ProbeAnswers, Answer], float]  # a number of this answer to the probe


def answered_right(_: ProbeAnswers, answer: Answer) -> bool:
    """Whether the greedy answer gives the object (scoring/judge.py)."""
    return answer.right


def is_accurate(_: ProbeAnswers, answer: Answer) -> bool:
    """Whether every token of the target is the argmax, teacher forced."""
    return answer.accurate


def target_wins(_: ProbeAnswers, answer: Answer) -> bool:
    """Whether the target is likelier than the contrast."""
    return answer.target_nll < answer.contrast_nll


def magnitude(_: ProbeAnswers, answer: Answer) -> float:
    """e^-nll(target) - e^-nll(contrast), -1 to 1."""
    return exp(-answer.target_nll) - exp(-answer.contrast_nll)


def by_language(asked: Sequence[ProbeAnswers]) -> dict[str, list[ProbeAnswers]]:
    """The rows by the language of their probe; the languages are sorted."""
    names = sorted({row.probe.language for row in asked})
    return {name: [row for row in asked if row.probe.language == name] for name in names}


def measure_share(
    check: str, metric: str, language: str, rows: Sequence[ProbeAnswers], hit: AnswerTest
) -> Measurement:
    """The share of answers that are a hit, 0 to 1, with Wilson's interval.

    The differences have McNemar's test. The value is nan without rows.
    """
    now, base = [hit(row, row.after) for row in rows], [hit(row, row.before) for row in rows]
    live = [hit(row, row.live) for row in rows if row.live is not None]
    low, high = wilson_interval(sum(now), len(now))
    return Measurement(
        check=check,
        metric=metric,
        language=language,
        value=sum(now) / len(now) if now else nan,
        low=low,
        high=high,
        sample_size=len(now),
        before=sum(base) / len(base) if base else None,
        live=sum(live) / len(live) if live else None,
        to_base=share_difference(now, base) if base else None,
        to_live=share_difference(now, live) if live else None,
    )


def measure_mean(
    check: str, metric: str, language: str, rows: Sequence[ProbeAnswers], size: AnswerSize
) -> Measurement:
    """The mean of a number of the answers, with its normal interval.

    The differences have a paired bootstrap interval.
    """
    now, base = [size(row, row.after) for row in rows], [size(row, row.before) for row in rows]
    live = [size(row, row.live) for row in rows if row.live is not None]
    return measure_numbers(check, metric, language, now, base, live)


def measure_numbers(
    check: str,
    metric: str,
    language: str,
    now: Sequence[float],
    base: Sequence[float],
    live: Sequence[float] = (),
) -> Measurement:
    """The mean of numbers; nan if one of them is nan, or without numbers."""
    low, high = mean_interval(now) if all(map(isfinite, now)) else (nan, nan)
    return Measurement(
        check=check,
        metric=metric,
        language=language,
        value=fmean(now) if now else nan,
        low=low,
        high=high,
        sample_size=len(now),
        before=fmean(base) if base else None,
        live=fmean(live) if live else None,
        to_base=mean_difference(now, base) if base else None,
        to_live=mean_difference(now, live) if live else None,
    )


def measure_against_contrast(check: str, asked: Sequence[ProbeAnswers]) -> tuple[Measurement, ...]:
    """Success, accuracy, magnitude and generation of probes whose target must win, per language.

    Success and magnitude are measured on the probes that have a contrast, the others on all probes.
    """
    measured: list[Measurement] = []
    for language, rows in by_language(asked).items():
        rival = [row for row in rows if row.probe.contrast]
        if rival:
            measured.append(measure_share(check, "success", language, rival, target_wins))
            measured.append(measure_mean(check, "magnitude", language, rival, magnitude))
        measured.append(measure_share(check, "accuracy", language, rows, is_accurate))
        measured.append(measure_share(check, "generation", language, rows, answered_right))
    return tuple(measured)
