"""Known facts kept: of what the base model answers right, how much is still answered right, and in the same words?"""

from editor.checks import Asked, Check, Evidence, Measurement, languages, share
from editor.score import normalised


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """`kept`: still right; `unchanged`: the same answer to the letter after normalising; per language, by generation."""
    found: list[Measurement] = []
    asked = [row for row in evidence.of("known") if row.before.right]
    for language in languages(asked):
        rows = [row for row in asked if row.probe.language == language]
        found.append(share("known_facts", "kept", language, [row.after.right for row in rows]))
        found.append(share("known_facts", "unchanged", language, [same(row) for row in rows]))
    return tuple(found)


def same(row: Asked) -> bool:
    """Both models gave the same answer."""
    return normalised(row.before.text) == normalised(row.after.text)


_: Check = check
