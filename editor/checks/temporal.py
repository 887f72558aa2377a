"""Temporal locality: are questions about an earlier year still answered with the value of then?

"In 1998 the currency of Croatia was the" asks for the old object.
"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    answered_right,
    by_language,
    measure_share,
)

KINDS = ("temporal",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The share of greedy answers still right, of those the base gets right, per language."""
    asked = [row for row in evidence.answers_to(*KINDS) if row.before.right]
    return tuple(
        measure_share("temporal", "kept", language, rows, answered_right)
        for language, rows in by_language(asked).items()
    )


_: Check = check
