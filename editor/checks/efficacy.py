"""Efficacy: do the prompts that facts were written with now end in the new object?

Explained in docs/explanation/editing.md §5.
"""

from factd.editor.checks import Check, Evidence, Measurement, measure_against_contrast

KINDS = ("edit",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Success, accuracy, magnitude and generation, per language."""
    return measure_against_contrast("efficacy", evidence.answers_to(*KINDS))


_: Check = check
