"""Locality: are unrelated questions still answered as before?

Its questions, such as those of Natural Questions, are often ones that the base model gets wrong.
"""

from factd.editor.checks import Check, Evidence, Measurement
from factd.editor.checks.benchmarks.same_subject import kept_and_unchanged

KINDS = ("locality",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """`kept` and `unchanged` as in the check same_subject, per language."""
    return kept_and_unchanged("locality", evidence, KINDS)


_: Check = check
