"""Neighbourhood: do other subjects of the same relation keep their own object against the new one? (EDITING §5)"""

from factd.editor.checks import Check, Evidence, Measurement, measure_against_contrast


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Success, accuracy, magnitude and generation, per language."""
    return measure_against_contrast("neighbourhood", evidence.answers_to("neighbourhood"))


_: Check = check
