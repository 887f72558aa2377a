"""Portability: does what was written reach what follows from it?

`alias`: the subject under another of its names. `consequence`: one hop further in the graph of facts ("the currency of the
country of the city of Zagreb"), of the questions that the base model answers with the old consequence: others it
could not answer before the edit either.
"""

from factd.editor.checks import Asked, Check, Evidence, Measurement, by_language, right, share
from factd.editor.scoring.score import is_right


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Shares of right answers, by generation, per language."""
    hops = [row for row in evidence.of("consequence") if reached(row)]
    found: list[Measurement] = []
    for metric, asked in (("alias", evidence.of("alias")), ("consequence", hops)):
        found += [
            share("portability", metric, language, rows, right)
            for language, rows in by_language(asked).items()
        ]
    return tuple(found)


def reached(row: Asked) -> bool:
    """The base model answers with the old consequence: it makes the hop."""
    return bool(row.probe.contrast) and is_right(row.before.text, (row.probe.contrast or "",))


_: Check = check
