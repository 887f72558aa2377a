"""Retention: are the facts that earlier releases wrote still answered?"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    answered_right,
    by_language,
    measure_share,
)

KINDS = ("earlier",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The share of right greedy answers about a sample of earlier facts, per language."""
    return tuple(
        measure_share("retention", "generation", language, rows, answered_right)
        for language, rows in by_language(evidence.answers_to(*KINDS)).items()
    )


_: Check = check
