"""Language fidelity: is the answer in the language of the prompt?

An answer is in another language when it names the object as only other languages do ("franc suisse" to an English prompt).
"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    ProbeAnswers,
    by_language,
    measure_share,
)
from factd.editor.scoring.score import Answer, is_right


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The share of answers that name no object in another language, per language."""
    asked = evidence.answers_to("edit", "paraphrase", "earlier", "known")
    return tuple(
        measure_share("fidelity", "share", language, rows, faithful)
        for language, rows in by_language(asked).items()
    )


def faithful(row: ProbeAnswers, answer: Answer) -> bool:
    """The answer is not a name that only other languages have."""
    return answer.right or not is_right(answer.text, row.probe.foreign)


_: Check = check
