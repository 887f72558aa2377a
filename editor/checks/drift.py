"""Drift: how far held-out text has moved, per language: perplexity against the base's, and KL(base ‖ edited) (EDITING §5)."""

from dataclasses import replace
from math import exp, isfinite, nan

from factd.editor.checks import Check, Evidence, Measurement, TextEvidence
from factd.editor.scoring.drift import TextScores
from factd.editor.scoring.intervals import Difference, bootstrap_interval


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """`perplexity_ratio` (1: as good as before) and `kl` (nats per token) with bootstrap intervals over texts, per language."""
    found: list[Measurement] = []
    for language, read in sorted(evidence.texts.items()):
        found += [perplexity_ratio(language, read), kl(language, read)]
    return tuple(found)


def perplexity_ratio(language: str, read: TextEvidence) -> Measurement:
    """e^((nll - nll of the base) / tokens), and how much it grew since the live release."""
    rises = [now - base for now, base in zip(read.after.nll, read.after.base_nll, strict=True)]
    low, high = bootstrap_interval(rises, read.after.tokens)
    value = _exp(sum(rises) / sum(read.after.tokens))
    live = _exp(read.live.rise) if read.live else None
    found = _measured(language, "perplexity_ratio", read, value, _exp(low), _exp(high), 1.0)
    return replace(found, live=live, to_live=_grown(read.after, read.live, value, live))


def _grown(
    now: TextScores, then: TextScores | None, value: float, live: float | None
) -> Difference | None:
    if then is None or live is None:
        return None
    rises = [a - b for a, b in zip(now.nll, then.nll, strict=True)]
    low, high = (live * (_exp(end) - 1) for end in bootstrap_interval(rises, now.tokens))
    return _difference(value - live, low, high, rises)


def kl(language: str, read: TextEvidence) -> Measurement:
    """Mean over tokens of KL(base ‖ edited), nats."""
    low, high = bootstrap_interval(read.after.kl, read.after.tokens)
    found = _measured(language, "kl", read, read.after.divergence, low, high, 0.0)
    if read.live is None:
        return found
    gains = [a - b for a, b in zip(read.after.kl, read.live.kl, strict=True)]
    ends = bootstrap_interval(gains, read.after.tokens)
    value = read.after.divergence - read.live.divergence
    return replace(
        found, live=read.live.divergence, to_live=_difference(value, ends[0], ends[1], gains)
    )


def _difference(value: float, low: float, high: float, gains: list[float]) -> Difference:
    up, down = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return Difference(value=value, low=low, high=high, better=down, worse=up, p_value=nan)


def _measured(
    language: str,
    metric: str,
    read: TextEvidence,
    value: float,
    low: float,
    high: float,
    before: float,
) -> Measurement:
    return Measurement(
        check="drift",
        metric=metric,
        language=language,
        value=value,
        low=low,
        high=high,
        sample_size=len(read.after.tokens),
        before=before,
    )


def _exp(nats: float) -> float:
    """e^nats; no number where there is none, infinite where it is too large."""
    return nan if not isfinite(nats) else exp(nats) if nats < 700 else float("inf")


_: Check = check
