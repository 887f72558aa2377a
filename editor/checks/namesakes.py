"""Namesakes: are facts about subjects whose names share words with an edited one ("Equatorial Guinea") still answered?"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    answered_right,
    by_language,
    measure_share,
)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """`kept`: of what the base model answers right, the share still right, by generation, per language and of all."""
    asked = [row for row in evidence.answers_to("namesake") if row.before.right]
    parts = {**by_language(asked), "all": asked} if asked else {}
    return tuple(
        measure_share("namesakes", "kept", language, rows, answered_right)
        for language, rows in parts.items()
    )


_: Check = check
