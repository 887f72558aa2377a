"""Paraphrase: do wordings that no edit used end in the new object?

Explained in docs/explanation/editing.md §5.
"""

from factd.editor.checks import Check, Evidence, Measurement, measure_against_contrast

KINDS = ("paraphrase",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Success, accuracy, magnitude and generation, per language."""
    return measure_against_contrast("paraphrase", evidence.answers_to(*KINDS))


_: Check = check
