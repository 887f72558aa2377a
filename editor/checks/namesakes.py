"""Namesakes: are facts about subjects with a similar name still answered right?

"Equatorial Guinea" is a namesake of an edited "Guinea": their names share a word.
"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    answered_right,
    by_language,
    measure_share,
)

KINDS = ("namesake",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """`kept`: the share of greedy answers that are still right, of those the base model gets right.

    Per language, and over all languages.
    """
    asked = [row for row in evidence.answers_to(*KINDS) if row.before.right]
    parts = {**by_language(asked), "all": asked} if asked else {}
    return tuple(
        measure_share("namesakes", "kept", language, rows, answered_right)
        for language, rows in parts.items()
    )


_: Check = check
