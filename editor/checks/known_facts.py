"""Known facts: does the edited model still answer what the base model answers right?"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    ProbeAnswers,
    answered_right,
    by_language,
    measure_share,
)
from factd.editor.scoring.judge import normalised
from factd.editor.scoring.score import Answer

KINDS = ("known",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Two shares of greedy answers, of the questions that the base answers right, per language.

    `kept`: the answer is still right, whatever follows the object. `unchanged`: the whole answer is
    the same after normalising. In free text an answer may stay right in other words, so gates use
    `kept`.
    """
    asked = [row for row in evidence.answers_to(*KINDS) if row.before.right]
    measured: list[Measurement] = []
    for language, rows in by_language(asked).items():
        measured.append(measure_share("known_facts", "kept", language, rows, answered_right))
        measured.append(measure_share("known_facts", "unchanged", language, rows, is_unchanged))
    return tuple(measured)


def is_unchanged(row: ProbeAnswers, answer: Answer) -> bool:
    """Whether the base model gave the same answer."""
    return normalised(row.before.text) == normalised(answer.text)


_: Check = check
