"""Efficacy: do the prompts that facts were written with now end in the new object? (EDITING §5)"""

from factd.editor.checks import Check, Evidence, Measurement, against_contrast


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Success, accuracy, magnitude and generation, per language."""
    return against_contrast("efficacy", evidence.of("edit"))


_: Check = check
