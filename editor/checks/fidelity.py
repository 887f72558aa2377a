"""Language fidelity: is the answer in the language of the prompt?

An answer is in another language when it names the object as only other languages do ("franc suisse" to an English prompt).
"""

from editor.checks import Asked, Check, Evidence, Measurement, languages, share
from editor.score import Answer, is_right


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The share of answers that name no object in another language, per language."""
    found: list[Measurement] = []
    asked = evidence.of("edit", "paraphrase", "known")
    for language in languages(asked):
        rows = [row for row in asked if row.probe.language == language]
        after, before = [faithful(r, r.after) for r in rows], [faithful(r, r.before) for r in rows]
        found.append(share("fidelity", "share", language, after, before))
    return tuple(found)


def faithful(row: Asked, answer: Answer) -> bool:
    """The answer is not a name that only other languages have."""
    return answer.right or not is_right(answer.text, row.probe.foreign)


_: Check = check
