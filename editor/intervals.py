"""Confidence intervals of 95 % that say how far a share or a mean can be trusted."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

Z = 1.959963984540054  # normal quantile of 97.5 %


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Wilson's score interval of a share, within 0 to 1; (0, 1) where nothing was asked."""
    if not count:
        return 0.0, 1.0
    share, square = hits / count, Z * Z / count
    middle = (share + square / 2) / (1 + square)
    half = Z * sqrt(share * (1 - share) / count + square / (4 * count)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def of_mean(values: Sequence[float]) -> tuple[float, float]:
    """Normal interval of a mean; none (nan) for fewer than two values."""
    if len(values) < 2:
        return float("nan"), float("nan")
    half = Z * stdev(values) / sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


def harmonic_mean(shares: Sequence[float]) -> float:
    """0 where one of them is 0: MEMIT's score of efficacy, paraphrase and neighbourhood success."""
    return 0.0 if min(shares) <= 0 else len(shares) / sum(1 / share for share in shares)
