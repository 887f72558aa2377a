"""Same subject: are other facts about the edited subject still answered as before?"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    answered_right,
    by_language,
    measure_share,
)
from factd.editor.checks.known_facts import is_unchanged

KINDS = ("same_subject",)


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """Two shares of greedy answers, per language.

    `kept`: still right, of those that the base model answers right. `unchanged`: the same text as
    the base model's, of all of them.
    """
    return kept_and_unchanged("same_subject", evidence, KINDS)


def kept_and_unchanged(
    name: str, evidence: Evidence, kinds: tuple[str, ...]
) -> tuple[Measurement, ...]:
    """`kept` and `unchanged` of the probes of some kinds. name: of the check."""
    asked = evidence.answers_to(*kinds)
    measured: list[Measurement] = []
    for language, rows in by_language([row for row in asked if row.before.right]).items():
        measured.append(measure_share(name, "kept", language, rows, answered_right))
    for language, rows in by_language(asked).items():
        measured.append(measure_share(name, "unchanged", language, rows, is_unchanged))
    return tuple(measured)


_: Check = check
