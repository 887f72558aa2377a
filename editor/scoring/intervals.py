"""95 % confidence intervals of shares, means and differences, and McNemar's test."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from statistics import fmean, stdev

import numpy as np
from scipy.stats import binomtest, bootstrap

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
RESAMPLES = 2000  # of the bootstrap


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much a measurement is higher than another model's on the same probes."""

    value: float
    low: float  # 95 % confidence
    high: float
    better: int  # probes on which it gained
    worse: int  # probes on which it lost
    p_value: float  # McNemar's exact test, two-sided, of `better` against `worse`


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 %, within 0 to 1; (0, 1) if count is 0."""
    if not count:
        return 0.0, 1.0
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return max(0.0, float(interval.low)), min(1.0, float(interval.high))


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Normal interval of a mean, 95 %; (nan, nan) for fewer than two values."""
    if len(values) < 2:
        return nan, nan
    half = Z * stdev(values) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def share_difference(now: Sequence[bool], then: Sequence[bool]) -> Difference:
    """The difference of two shares on the same probes, each from -1 to 1.

    The interval is the adjusted Wald interval for paired data (Bonett and Price, 2012).
    """
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
    """McNemar's exact test, two-sided.

    The probability of a split at least this uneven if both kinds of change are equally likely; 1 if
    nothing changed.
    """
    return float(binomtest(better, better + worse).pvalue) if better + worse else 1.0


def mean_difference(now: Sequence[float], then: Sequence[float]) -> Difference:
    """The difference of two means on the same probes, with a paired bootstrap interval.

    nan if there are no probes.
    """
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
    """Bootstrap interval of Σ sums / Σ weights, 95 %, resampled item by item.

    (nan, nan) for fewer than two items, or if a sum is not finite. The seed is fixed: the same
    numbers give the same interval.
    """
    if len(sums) < 2 or not all(map(isfinite, sums)):
        return nan, nan

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        quotient: np.ndarray = a.sum(axis) / b.sum(axis)
        return quotient

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
    """The harmonic mean of shares; 0 if one of them is 0.

    MEMIT's score (arXiv:2210.07229) is that of efficacy, paraphrase and neighbourhood success.
    """
    return 0.0 if min(shares) <= 0 else len(shares) / sum(1 / share for share in shares)
