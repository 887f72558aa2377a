"""How far a share, a mean or a difference can be trusted: intervals of 95 %, and McNemar's test."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from statistics import fmean, stdev

import numpy as np
from scipy.stats import binomtest, bootstrap

Z = 1.959963984540054  # normal quantile of 97.5 %
RESAMPLES = 2000


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a measurement gained against another model's on the same probes; negative: it lost."""

    value: float
    low: float  # 95 % confidence
    high: float
    better: int  # probes on which it gained
    worse: int  # probes on which it lost
    p_value: float  # that as uneven a split of the two is chance: McNemar's exact test, two-sided


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share, within 0 to 1; (0, 1) where nothing was asked."""
    if not count:
        return 0.0, 1.0
    found = binomtest(hits, count).proportion_ci(method="wilson")
    return max(0.0, float(found.low)), min(1.0, float(found.high))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Normal interval of a mean; none (nan) for fewer than two values."""
    if len(values) < 2:
        return nan, nan
    half = Z * stdev(values) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def share_difference(now: Sequence[bool], then: Sequence[bool]) -> Difference:
    """The difference of two shares on the same probes, with the adjusted Wald interval (Bonett and Price, 2012)."""
    better = sum(a and not b for a, b in zip(now, then, strict=True))
    worse = sum(b and not a for a, b in zip(now, then, strict=True))
    count = len(now)
    if not count:
        return Difference(value=nan, low=nan, high=nan, better=0, worse=0, p_value=nan)
    up, down = (better + 1) / (count + 2), (worse + 1) / (count + 2)
    half = Z * sqrt((up + down - (up - down) ** 2) / (count + 2))
    return Difference(
        value=(better - worse) / count,
        low=max(-1.0, up - down - half),
        high=min(1.0, up - down + half),
        better=better,
        worse=worse,
        p_value=mcnemar(better, worse),
    )


def mcnemar(better: int, worse: int) -> float:
    """McNemar's exact test, two-sided: how likely as uneven a split is if either change were as likely; 1 without any."""
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def mean_difference(now: Sequence[float], then: Sequence[float]) -> Difference:
    """The difference of two means on the same probes, with its paired bootstrap interval."""
    gains = np.asarray(now, float) - np.asarray(then, float)
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    low, high = bootstrap_interval(gains, np.ones_like(gains))
    return Difference(
        value=float(gains.mean()) if len(gains) else nan,
        low=low,
        high=high,
        better=better,
        worse=worse,
        p_value=mcnemar(better, worse),
    )


def bootstrap_interval(sums: Sequence[float], weights: Sequence[float]) -> tuple[float, float]:
    """Bootstrap interval of Σ sums / Σ weights, drawn item by item; none (nan) for fewer than two or an infinite one.

    Seeded: the same numbers give the same interval.
    """
    if len(sums) < 2 or not all(map(isfinite, sums)):
        return nan, nan

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        found: np.ndarray = a.sum(axis) / b.sum(axis)
        return found

    drawn = bootstrap(
        (np.asarray(sums, float), np.asarray(weights, float)),
        ratio,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def harmonic_mean(shares: Sequence[float]) -> float:
    """0 where one of them is 0: MEMIT's score of efficacy, paraphrase and neighbourhood success."""
    return 0.0 if min(shares) <= 0 else len(shares) / sum(1 / share for share in shares)
