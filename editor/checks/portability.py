"""Portability: does what was written reach what follows from it?

`alias`: the subject under another of its names. `consequence`: one hop further in the graph of facts ("the currency of the
country of the city of Zagreb"), of the questions that the base model answers with the old consequence: others it
could not answer before the edit either.
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
from factd.editor.scoring.score import is_right


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Shares of right answers, by generation, per language."""
    hops = [row for row in evidence.answers_to("consequence") if base_makes_hop(row)]
    found: list[Measurement] = []
    for metric, asked in (("alias", evidence.answers_to("alias")), ("consequence", hops)):
        found += [
            measure_share("portability", metric, language, rows, answered_right)
            for language, rows in by_language(asked).items()
        ]
    return tuple(found)


def base_makes_hop(row: ProbeAnswers) -> bool:
    """The base model answers with the old consequence: it makes the hop."""
    return bool(row.probe.contrast) and is_right(row.before.text, (row.probe.contrast or "",))


_: Check = check
