"""Portability: does the model use a new fact for questions that follow from it?

`alias` asks about the subject by another of its names. `consequence` asks one hop further in the
graph of facts ("the currency of the country of the city of Zagreb"). Only consequences count that
the base model answers with the old consequence: the others it could not answer before the edit
either.
"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    ProbeAnswers,
    answered_right,
    by_language,
    measure_share,
)
from factd.editor.scoring.judge import is_right

KINDS = ("alias", "consequence", "portability")


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The shares of right greedy answers, per language."""
    hops = [row for row in evidence.answers_to("consequence") if base_makes_hop(row)]
    measured: list[Measurement] = []
    for metric, asked in (
        ("alias", evidence.answers_to("alias")),
        ("consequence", hops),
        ("questions", evidence.answers_to("portability")),
    ):
        measured += [
            measure_share("portability", metric, language, rows, answered_right)
            for language, rows in by_language(asked).items()
        ]
    return tuple(measured)


def base_makes_hop(row: ProbeAnswers) -> bool:
    """Whether the base model makes the hop: it answers with the old consequence."""
    if not row.probe.contrast:
        return False
    return is_right(row.before.text, (row.probe.contrast,), longer=row.probe.accepted)


_: Check = check
