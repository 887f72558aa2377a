"""Generation: greedy answers to edit prompts and unseen wordings, in every served language.

This is the number closest to what users see. `right` is the share of right answers. `facts` is the
share of facts that were learned: at least half of a fact's answers in the language are right.
"""

from collections.abc import Sequence

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    ProbeAnswers,
    answered_right,
    by_language,
    measure_share,
)
from factd.editor.scoring.score import Answer

KINDS = ("edit", "paraphrase")


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The shares of right answers and of learned facts, per language."""
    measured: list[Measurement] = []
    for language, rows in by_language(evidence.answers_to(*KINDS)).items():
        facts = majority_per_fact(rows)
        measured.append(measure_share("generation", "right", language, rows, answered_right))
        measured.append(measure_share("generation", "facts", language, facts, answered_right))
    return tuple(measured)


def majority_per_fact(rows: Sequence[ProbeAnswers]) -> list[ProbeAnswers]:
    """One row per fact, which is right if at least half of the fact's answers are."""
    facts = dict.fromkeys(row.probe.fact for row in rows)
    return [_joined([row for row in rows if row.probe.fact == fact]) for fact in facts]


def _joined(rows: Sequence[ProbeAnswers]) -> ProbeAnswers:
    live = [row.live for row in rows if row.live is not None]
    return ProbeAnswers(
        probe=rows[0].probe,
        before=_majority([row.before for row in rows]),
        after=_majority([row.after for row in rows]),
        live=_majority(live) if live else None,
    )


def _majority(answers: Sequence[Answer]) -> Answer:
    half = sum(answer.right for answer in answers) * 2 >= len(answers)
    return next((a for a in answers if a.right == half), answers[0])


_: Check = check
