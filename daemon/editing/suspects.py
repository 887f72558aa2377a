"""A ranking of a failed candidate's facts by suspicion.

Facts that were themselves measured to be wrong come first, then those that influence the damaged
answers and texts most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from factd.daemon.editing.candidates import Examination, Proposal
from factd.daemon.gates.policy import Decision, share_right
from factd.daemon.workbench import Workbench

if TYPE_CHECKING:
    from factd.editor.checks import Evidence, ProbeAnswers
    from factd.editor.exams.exam import Exam
    from factd.editor.exams.influence import ValueShift

# A fact is suspect if its value shift is more robust deviations than this from the batch's median.
OUTLIER = 6.0
MOST_SHIFT = 1.05  # ‖z - z0‖ over the largest that the settings allow; 0.05 is for rounding
MOST_TEXTS = 96  # damaged texts for which influences are computed
ANSWER_CHECKS = ("facts", "efficacy", "paraphrase", "generation")  # of the written facts
WRITTEN = ("edit", "paraphrase")


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """The new facts of a failed candidate, the most suspect first."""

    ranked: tuple[str, ...]  # ids
    direct: tuple[str, ...]  # ids of the facts that were themselves measured to be wrong
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by fact


def rank_suspects(workbench: Workbench, proposal: Proposal, failed: Examination) -> Suspects:
    """Rank the new facts of a candidate that failed."""
    new = [fact.id for fact in proposal.context.new]
    shifts = {shift.group: shift for shift in failed.value_shifts}
    direct = _wrong_in_themselves(new, shifts, failed.decision)
    outlying = _deviations({id_: shift.size for id_, shift in shifts.items()})
    influence = _influences(workbench, proposal, damaged_texts(failed, proposal))
    total = sum(influence.values()) or 1.0
    wrong = _wrong_shares(failed.report)

    def score(id_: str) -> float:
        outlier = max(0.0, outlying.get(id_, 0.0) - OUTLIER)
        return influence.get(id_, 0.0) / total + wrong.get(id_, 0.0) + outlier

    rows = {
        id_: {
            "value_reach": round(shifts[id_].ratio, 4) if id_ in shifts else None,
            "value_size": round(shifts[id_].size, 4) if id_ in shifts else None,
            "share_of_influence": round(influence.get(id_, 0.0) / total, 4),
            "wrong_answers": round(wrong.get(id_, 0.0), 4),
        }
        for id_ in new
    }
    ranked = sorted(new, key=lambda id_: (-score(id_), id_))
    own = tuple(id_ for id_ in ranked if id_ in direct)
    return Suspects(ranked=tuple(ranked), direct=own, evidence=rows)


def _wrong_in_themselves(
    new: Sequence[str], shifts: "Mapping[str, ValueShift]", decision: Decision
) -> set[str]:
    """The facts that were measured to be wrong in themselves.

    These are the facts whose value is further from the model's own than the settings allow. If
    there are none, they are the facts that do not give their answer. This second group counts only
    if nothing but checks of the written facts failed. If other facts suffer too, a fact without its
    answer may be a victim and not the cause.
    """
    beyond = {id_ for id_ in new if id_ in shifts and shifts[id_].ratio > MOST_SHIFT}
    if beyond:
        return beyond
    answers_only = all(finding.check in ANSWER_CHECKS for finding in decision.failed)
    return {id_ for f in decision.failed for id_ in f.facts} if answers_only else set()


def _deviations(sizes: Mapping[str, float]) -> dict[str, float]:
    """Each size's distance from the median, in robust standard deviations.

    A robust standard deviation is 1.4826 · the median absolute deviation.
    """
    if len(sizes) < 3:
        return {}
    middle = median(sizes.values())
    spread = 1.4826 * median(abs(size - middle) for size in sizes.values())
    return {id_: (size - middle) / max(spread, 0.01 * middle) for id_, size in sizes.items()}


def _influences(workbench: Workbench, proposal: Proposal, texts: list[str]) -> dict[str, float]:
    """How much each new fact changes the damaged texts; empty if the method writes no values."""
    from factd.editor.exams.influence import influences  # needs torch
    from factd.editor.methods._write import WriteSettings

    settings = workbench.method_settings()
    if not texts or not isinstance(settings, WriteSettings):
        return {}
    model = workbench.model()
    by_fact = influences(model, proposal.batch, settings, workbench.workspace, texts)
    new = {fact.id for fact in proposal.context.new}
    return {fact: size for fact, size in by_fact.items() if fact in new}


def _wrong_shares(report: Mapping[str, Any]) -> dict[str, float]:
    """Per new fact, the share of wrong answers in its worst written language."""
    shares: dict[str, float] = {}
    for row in report["facts"]:
        if row["new"] and row["written"]:
            share = 1 - share_right(row)
            shares[row["fact"]] = max(shares.get(row["fact"], 0.0), share)
    return shares


def damaged_texts(failed: Examination, proposal: Proposal) -> list[str]:
    """Prompts that are answered wrong now; if drift failed, also the texts that drifted most."""
    checks = {finding.check for finding in failed.decision.failed}
    texts = most_drifted_texts(failed.evidence, proposal.exam) if "drift" in checks else []
    return [*newly_wrong_prompts(failed.evidence), *texts]


def newly_wrong_prompts(evidence: "Evidence") -> list[str]:
    """Prompts about other facts that were answered right before and are answered wrong now."""
    kinds = {p.kind for p in evidence.probes} - {*WRITTEN, "consequence", "alias"}
    prompts = [row.probe.prompt for row in evidence.answers_to(*sorted(kinds)) if _was_right(row)]
    return list(dict.fromkeys(prompts))[:MOST_TEXTS]


def _was_right(row: "ProbeAnswers") -> bool:
    then = row.live if row.live is not None else row.before
    return (then.right or row.before.right) and not row.after.right


def most_drifted_texts(evidence: "Evidence", exam: "Exam", count: int = 16) -> list[str]:
    """The held-out texts of each language that drifted most, `count` per language."""
    drifted: list[str] = []
    for language, read in evidence.texts.items():
        kl = read.after.kl
        order = sorted(range(len(kl)), key=lambda n: -kl[n])[:count]
        drifted += [exam.texts[language][n] for n in order if n < len(exam.texts[language])]
    return drifted


def exam_of_failed_gates(decision: Decision, exam: "Exam") -> "Exam":
    """The part of an exam that the failed gates look at."""
    from factd.editor.exams.report import probe_kinds  # needs torch

    kinds_of = {**probe_kinds(), "facts": WRITTEN}
    checks = {finding.check for finding in decision.failed}
    if any(f.gate == "numbers" for f in decision.failed):
        checks |= set(kinds_of)
    kinds = {kind for check in checks for kind in kinds_of.get(check, ())}
    return replace(
        exam,
        probes=tuple(p for p in exam.probes if p.kind in kinds),
        texts=exam.texts if "drift" in checks else {},
        questions=exam.questions if "rank_consistency" in checks else {},
    )
