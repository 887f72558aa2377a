"""Paraphrase: do wordings that no edit used end in the new object? (EDITING §5)"""

from factd.editor.checks import Check, Evidence, Measurement, measure_against_contrast


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Success, accuracy, magnitude and generation, per language."""
    return measure_against_contrast("paraphrase", evidence.answers_to("paraphrase"))


_: Check = check
