"""What a model answers to the questions of the bench, question by question."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from math import exp, isfinite
from typing import Any

from factd.editor.models.model import EditableModel
from factd.editor.scoring.judge import is_right
from factd.editor.scoring.score import Answer, Probe, answers

ANSWER_TOKENS = 16  # longest answer; the judge decides by its beginning
SCORED_ONLY = ("neighbourhood",)  # kinds of probe that no text is generated for


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One question, scored. None: not measured."""

    kind: str  # as `Probe.kind`
    record: str  # id of the record, or the prompt of a bystander
    success: bool | None  # the target is more likely than the contrast
    accurate: bool  # every token of the target is the argmax, teacher forced
    magnitude: float | None  # e^-nll of the target minus that of the contrast
    right: bool | None  # the greedy answer is right
    text: str  # the greedy answer


def outcomes(model: EditableModel, probes: Sequence[Probe]) -> list[Outcome]:
    """The outcome of every probe, in order."""
    found: dict[int, Outcome] = {}
    for tokens in (0, ANSWER_TOKENS):
        chosen = [i for i, p in enumerate(probes) if (p.kind in SCORED_ONLY) == (tokens == 0)]
        answered = answers(model, [probes[i] for i in chosen], new_tokens=tokens)
        found |= {i: _outcome(probes[i], a) for i, a in zip(chosen, answered, strict=True)}
    return [found[i] for i in range(len(probes))]


def _outcome(probe: Probe, answer: Answer) -> Outcome:
    rival = isfinite(answer.contrast_nll)
    return Outcome(
        kind=probe.kind,
        record=probe.fact,
        success=answer.target_nll < answer.contrast_nll if rival else None,
        accurate=answer.accurate,
        magnitude=exp(-answer.target_nll) - exp(-answer.contrast_nll) if rival else None,
        right=None if probe.kind in SCORED_ONLY else answer.right,
        text=answer.text,
    )


def judged(found: Sequence[Outcome], probes: Sequence[Probe]) -> tuple[Outcome, ...]:
    """The outcomes with the verdicts of the judge as it is now; kept texts may be older."""
    return tuple(
        o if o.right is None else replace(o, right=is_right(o.text, p.accepted, longer=p.longer))
        for o, p in zip(found, probes, strict=True)
    )


def as_lists(found: Sequence[Outcome]) -> list[list[Any]]:
    """Outcomes as JSON."""
    return [list(astuple(outcome)) for outcome in found]


def from_lists(rows: Sequence[Sequence[Any]]) -> tuple[Outcome, ...]:
    """Outcomes from JSON."""
    names = list(Outcome.__dataclass_fields__)
    return tuple(Outcome(**dict(zip(names, row, strict=True))) for row in rows)
