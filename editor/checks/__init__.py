"""Checks: what an edit did and did not change. One file each; a check measures, it never judges (daemon/policy.py does)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isfinite
from statistics import fmean
from typing import Protocol

from editor.intervals import of_mean, wilson
from editor.score import Answer, Probe


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One number with its uncertainty."""

    check: str
    metric: str  # success, accuracy, magnitude, generation, … (EDITING §5)
    language: str  # BCP 47; "all" where languages make no difference
    value: float
    low: float  # 95 % confidence
    high: float
    sample_size: int
    before: float | None = None  # the same on the base model


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What all checks look at: the same probes asked of the base model and of the edited one."""

    probes: tuple[Probe, ...]
    before: tuple[Answer, ...]
    after: tuple[Answer, ...]
    diagnostics: Mapping[str, float] = field(default_factory=dict)  # of the delta

    def of(self, *kinds: str) -> tuple["Asked", ...]:
        """The probes of some kinds with both answers."""
        rows = zip(self.probes, self.before, self.after, strict=True)
        return tuple(Asked(probe=p, before=b, after=a) for p, b, a in rows if p.kind in kinds)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One probe with its answers."""

    probe: Probe
    before: Answer
    after: Answer


class Check(Protocol):
    """Measures one thing."""

    def __call__(self, evidence: Evidence) -> tuple[Measurement, ...]:
        """Nothing where the evidence has no probe for it."""
        ...


def languages(asked: Sequence[Asked]) -> tuple[str, ...]:
    """The languages of some probes, sorted."""
    return tuple(sorted({row.probe.language for row in asked}))


def share(
    check: str,
    metric: str,
    language: str,
    hits: Sequence[bool],
    before: Sequence[bool] | None = None,
) -> Measurement:
    """A share with Wilson's interval."""
    low, high = wilson(sum(hits), len(hits))
    value = sum(hits) / len(hits) if hits else float("nan")
    was = sum(before) / len(before) if before else None
    return Measurement(
        check=check,
        metric=metric,
        language=language,
        value=value,
        low=low,
        high=high,
        sample_size=len(hits),
        before=was,
    )


def mean(
    check: str, metric: str, language: str, values: Sequence[float], before: Sequence[float]
) -> Measurement:
    """A mean with its normal interval; one value that is no number makes it no number."""
    low, high = of_mean(values) if all(map(isfinite, values)) else (float("nan"), float("nan"))
    value = fmean(values) if values else float("nan")
    return Measurement(
        check=check,
        metric=metric,
        language=language,
        value=value,
        low=low,
        high=high,
        sample_size=len(values),
        before=fmean(before) if before else None,
    )


def magnitude(answer: Answer) -> float:
    """e^-nll(target) - e^-nll(contrast), from -1 to 1."""
    return exp(-answer.target_nll) - exp(-answer.contrast_nll)


def against_contrast(check: str, asked: Sequence[Asked]) -> tuple[Measurement, ...]:
    """Success, accuracy, magnitude and generation of probes whose target must win, per language.

    Success and magnitude are of the probes that have a contrast, the others of all.
    """
    found: list[Measurement] = []
    wins: Callable[[Answer], bool] = lambda a: a.target_nll < a.contrast_nll  # noqa: E731
    for language in languages(asked):
        rows = [row for row in asked if row.probe.language == language]
        rival = [row for row in rows if row.probe.contrast]
        if rival:
            found.append(
                share(
                    check,
                    "success",
                    language,
                    [wins(r.after) for r in rival],
                    [wins(r.before) for r in rival],
                )
            )
            sizes = [magnitude(r.after) for r in rival], [magnitude(r.before) for r in rival]
            found.append(mean(check, "magnitude", language, *sizes))
        hits = [r.after.accurate for r in rows], [r.before.accurate for r in rows]
        found.append(share(check, "accuracy", language, *hits))
        found.append(
            share(
                check,
                "generation",
                language,
                [r.after.right for r in rows],
                [r.before.right for r in rows],
            )
        )
    return tuple(found)
