"""Language fidelity: is the answer in the language of the prompt?

An answer is in another language if it names the object as only other languages do: "franc suisse"
to an English prompt.
"""

from factd.editor.checks import (
    Check,
    Evidence,
    Measurement,
    ProbeAnswers,
    by_language,
    measure_share,
)
from factd.editor.scoring.judge import is_right
from factd.editor.scoring.score import Answer

KINDS = ("edit", "paraphrase", "earlier", "known")


def check(evidence: Evidence) -> tuple[Measurement, ...]:
    """The share of answers that do not name the object in another language, per language."""
    asked = evidence.answers_to(*KINDS)
    return tuple(
        measure_share("fidelity", "share", language, rows, faithful)
        for language, rows in by_language(asked).items()
    )


def faithful(row: ProbeAnswers, answer: Answer) -> bool:
    """Whether an answer is right, or at least not a name that only other languages use."""
    own = (*row.probe.accepted, *row.probe.longer)
    return answer.right or not is_right(answer.text, row.probe.foreign, longer=own)


_: Check = check
