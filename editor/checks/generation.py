"""Generation, the honest one: greedy answers to edit prompts and unseen wordings together, in every served language.

`right` counts answers; `facts` counts facts, one being taken in a language where at least half of its answers there are right.
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


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Shares of answers and of facts, per language."""
    found: list[Measurement] = []
    for language, rows in by_language(evidence.answers_to("edit", "paraphrase")).items():
        found.append(measure_share("generation", "right", language, rows, answered_right))
        found.append(
            measure_share("generation", "facts", language, majority_per_fact(rows), answered_right)
        )
    return tuple(found)


def majority_per_fact(rows: Sequence[ProbeAnswers]) -> list[ProbeAnswers]:
    """A row for each fact, right where at least half of its answers are."""
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
