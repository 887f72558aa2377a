"""Drift: how far held-out text moved, per language.

Measured by the perplexity against the base's, and by KL(base ‖ edited)
(docs/explanation/editing.md §5).
"""

from dataclasses import replace
from math import exp, isfinite, nan

from factd.editor.checks import Check, Evidence, Measurement, TextEvidence
from factd.editor.scoring.drift import TextScores
from factd.editor.scoring.intervals import Difference, bootstrap_interval

KINDS: tuple[str, ...] = ()  # measures held-out texts, not probes


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """`perplexity_ratio` (1: as good as the base) and `kl` (nats per token), per language.

    The intervals are bootstrapped over texts.
    """
    measured: list[Measurement] = []
    for language, texts in sorted(evidence.texts.items()):
        measured += [perplexity_ratio(language, texts), kl(language, texts)]
    return tuple(measured)


def perplexity_ratio(language: str, texts: TextEvidence) -> Measurement:
    """e^((nll - nll of the base) / tokens), and how much it grew since the live release."""
    rises = [now - base for now, base in zip(texts.after.nll, texts.after.base_nll, strict=True)]
    low, high = bootstrap_interval(rises, texts.after.tokens)
    value = _exp(sum(rises) / sum(texts.after.tokens))
    live = _exp(texts.live.rise) if texts.live else None
    ratio = _measured(language, "perplexity_ratio", texts, value, _exp(low), _exp(high), 1.0)
    return replace(ratio, live=live, to_live=_ratio_growth(texts.after, texts.live, value, live))


def _ratio_growth(
    now: TextScores, then: TextScores | None, value: float, live: float | None
) -> Difference | None:
    """How much the perplexity ratio grew since the live release; None without a live release."""
    if then is None or live is None:
        return None
    rises = [a - b for a, b in zip(now.nll, then.nll, strict=True)]
    low, high = (live * (_exp(end) - 1) for end in bootstrap_interval(rises, now.tokens))
    return _difference(value - live, low, high, rises)


def kl(language: str, texts: TextEvidence) -> Measurement:
    """Mean over tokens of KL(base ‖ edited), nats, and how much it grew since the live release."""
    low, high = bootstrap_interval(texts.after.kl, texts.after.tokens)
    mean = _measured(language, "kl", texts, texts.after.divergence, low, high, 0.0)
    if texts.live is None:
        return mean
    gains = [a - b for a, b in zip(texts.after.kl, texts.live.kl, strict=True)]
    ends = bootstrap_interval(gains, texts.after.tokens)
    value = texts.after.divergence - texts.live.divergence
    return replace(
        mean, live=texts.live.divergence, to_live=_difference(value, ends[0], ends[1], gains)
    )


def _difference(value: float, low: float, high: float, gains: list[float]) -> Difference:
    """A difference whose texts got better where their score fell."""
    up, down = sum(gain > 0 for gain in gains), sum(gain < 0 for gain in gains)
    return Difference(value=value, low=low, high=high, better=down, worse=up, p_value=nan)


def _measured(
    language: str,
    metric: str,
    texts: TextEvidence,
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
        sample_size=len(texts.after.tokens),
        before=before,
    )


def _exp(nats: float) -> float:
    """e^nats; nan if nats is not finite, infinity if the result is too large."""
    return nan if not isfinite(nats) else exp(nats) if nats < 700 else float("inf")


_: Check = check
