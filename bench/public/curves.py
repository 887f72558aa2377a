"""Methods compared where they leave neighbours equally well alone. Pure.

A method is a curve over its strength: neighbourhood success against what is to be gained. Curves
are read at one neighbourhood success, linear between points, and never beyond their ends. Intervals
come from a bootstrap over records, paired: each resample has the same records for every method.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan

import numpy as np

from factd.bench.public.asking import Outcome
from factd.bench.public.measures import by_record
from factd.bench.quality.world import interpolate

RESAMPLES = 1000
LEAST_SHARE = 0.9  # of resamples in which a curve must reach the level, for an interval
GAINS = {  # name -> kind of probe and field of its outcome
    "edit right": ("edit", "right"),
    "paraphrase right": ("paraphrase", "right"),
    "bystanders right": ("bystander", "right"),
}
X = ("neighbourhood", "success")


@dataclass(frozen=True)
class Curve:
    """One method: the outcomes of each strength."""

    method: str
    points: tuple[tuple[Outcome, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A curve read at one neighbourhood success. nan: the curve does not reach it."""

    method: str
    gain: str  # a name of GAINS
    level: float  # neighbourhood success
    value: float
    low: float  # 95 % confidence
    high: float
    ahead: float = nan  # by how much the reference method is higher
    ahead_low: float = nan
    ahead_high: float = nan


def span(curve: Curve) -> tuple[float, float]:
    """The lowest and the highest neighbourhood success of a curve."""
    found = [_share(outcomes, *X) for outcomes in curve.points]
    return min(found), max(found)


def common_level(curves: Sequence[Curve]) -> float:
    """The middle of the neighbourhood successes that all curves reach; nan if there are none."""
    spans = [span(curve) for curve in curves if len(curve.points) > 1]
    if not spans:
        return nan
    low, high = max(a for a, _ in spans), min(b for _, b in spans)
    return (low + high) / 2 if low <= high else nan


def _share(outcomes: Sequence[Outcome], kind: str, field: str) -> float:
    values = [v for group in by_record(outcomes, kind, field).values() for v in group]
    return sum(values) / len(values) if values else nan


def readings(curves: Sequence[Curve], level: float, gain: str, reference: str) -> list[Reading]:
    """Every curve read at a level, and how far the reference method is ahead of it."""
    drawn = {curve.method: _drawn(curve, level, gain) for curve in curves}
    best = drawn.get(reference)
    found = []
    for curve in curves:
        own = drawn[curve.method]
        ahead = best - own if best is not None and curve.method != reference else own * nan
        low, high = _interval(own[1:])
        below, above = _interval(ahead[1:])
        found.append(
            Reading(
                method=curve.method,
                gain=gain,
                level=level,
                value=float(own[0]),
                low=low,
                high=high,
                ahead=float(ahead[0]),
                ahead_low=below,
                ahead_high=above,
            )
        )
    return found


def _drawn(curve: Curve, level: float, gain: str) -> np.ndarray:
    """The curve's value at the level: first of all records, then of every resample."""
    x, y = (_means(curve, *field) for field in (X, GAINS[gain]))
    return np.array(
        [
            interpolate([(a, b) for a, b in zip(xs, ys, strict=True) if isfinite(b)], level)
            for xs, ys in zip(x, y, strict=True)
        ]
    )


def _means(curve: Curve, kind: str, field: str) -> np.ndarray:
    """Means (1 + RESAMPLES, points): of all records, then of each resample of records."""
    groups = [by_record(outcomes, kind, field) for outcomes in curve.points]
    records = _records(curve, kind)
    if not records:
        return np.full((1 + RESAMPLES, len(groups)), nan)
    sums = np.array([[sum(g.get(r, ())) for r in records] for g in groups], float)
    counts = np.array([[len(g.get(r, ())) for r in records] for g in groups], float)
    drawn = np.random.default_rng(0).integers(0, len(records), (RESAMPLES, len(records)))
    every = np.vstack([np.arange(len(records)), drawn])
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[:, every].sum(-1) / counts[:, every].sum(-1)).T


def _records(curve: Curve, kind: str) -> list[str]:
    """All records, or all bystanders, sorted: what is resampled together."""
    alone = kind == "bystander"
    outcomes = [o for point in curve.points for o in point]
    return sorted({o.record for o in outcomes if (o.kind == "bystander") is alone})


def _interval(values: np.ndarray) -> tuple[float, float]:
    reached = values[np.isfinite(values)]
    if len(reached) < LEAST_SHARE * len(values) or not len(reached):
        return nan, nan
    low, high = np.percentile(reached, [2.5, 97.5])
    return float(low), float(high)
