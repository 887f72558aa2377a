"""Negation: does the new object stay out of the negated prompt?

After "X died in Paris" was written, "X did not die in" must not be answered with Paris.
"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    ProbeAnswers,
    by_language,
    measure_share,
    target_wins,
)
from factd.editor.scoring.judge import is_right
from factd.editor.scoring.score import Answer

KINDS = ("negation",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Two shares, per language.

    `success`: the old object is likelier than the new one. `avoided`: the greedy answer is not
    the new object.
    """
    asked = [row for row in evidence.answers_to(*KINDS) if row.probe.contrast]
    measured: list[Measurement] = []
    for language, rows in by_language(asked).items():
        measured.append(measure_share("negation", "success", language, rows, target_wins))
        measured.append(measure_share("negation", "avoided", language, rows, avoids_contrast))
    return tuple(measured)


def avoids_contrast(row: ProbeAnswers, answer: Answer) -> bool:
    """Whether an answer is not the contrast."""
    return not is_right(answer.text, (row.probe.contrast or "",))


_: Check = check
