"""Neighbourhood: do other subjects of the same relation keep their own object?

Their own object must stay likelier than the new one (docs/explanation/editing.md §5).
"""

from factd.editor.checks import Check, Evidence, Measurement, measure_against_contrast

KINDS = ("neighbourhood",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Success, accuracy, magnitude and generation, per language."""
    return measure_against_contrast("neighbourhood", evidence.answers_to(*KINDS))


_: Check = check
