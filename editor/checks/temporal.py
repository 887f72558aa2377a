"""Temporal locality: "in 1998 the currency of Croatia was the" must still be answered with the old value."""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    answered_right,
    by_language,
    measure_share,
)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The share still right of what the base model answered right, by generation, per language."""
    asked = [row for row in evidence.answers_to("temporal") if row.before.right]
    return tuple(
        measure_share("temporal", "kept", language, rows, answered_right)
        for language, rows in by_language(asked).items()
    )


_: Check = check
