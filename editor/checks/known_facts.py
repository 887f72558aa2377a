"""Known facts kept: of what the base model answers right, how much is still answered right, and in the same words?"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    ProbeAnswers,
    answered_right,
    by_language,
    measure_share,
)
from factd.editor.scoring.score import Answer, normalised


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """`kept`: still right; `unchanged`: the same answer to the letter after normalising; per language, by generation."""
    asked = [row for row in evidence.answers_to("known") if row.before.right]
    found: list[Measurement] = []
    for language, rows in by_language(asked).items():
        found.append(measure_share("known_facts", "kept", language, rows, answered_right))
        found.append(measure_share("known_facts", "unchanged", language, rows, is_unchanged))
    return tuple(found)


def is_unchanged(row: ProbeAnswers, answer: Answer) -> bool:
    """The base model gave the same answer."""
    return normalised(row.before.text) == normalised(answer.text)


_: Check = check
