"""Who is suspect when a candidate fails: facts with direct evidence, then by how much they reach what was damaged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any

from factd.daemon.editing.candidates import Case, Examined
from factd.daemon.gates.policy import Decision, answered
from factd.daemon.workbench import Workbench

if TYPE_CHECKING:
    from factd.editor.checks import Evidence, ProbeAnswers
    from factd.editor.exams.exam import Exam
    from factd.editor.exams.influence import ValueShift

OUTLIER = 6.0  # robust deviations of a reach from the batch's median
REACHED = 1.05  # ‖z - z0‖ over what the settings allow, with room for rounding
DAMAGED = 96  # texts that influences are taken on, at most
OF_ANSWERS = ("facts", "efficacy", "paraphrase", "generation")  # of what is written itself
WRITTEN = ("edit", "paraphrase")


@dataclass(frozen=True, kw_only=True)
class Suspects:
    """The new facts of a failed candidate, the most suspect first."""

    ranked: tuple[str, ...]
    direct: tuple[str, ...]  # those that were themselves measured to be wrong
    evidence: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by fact


def suspects(workbench: Workbench, case: Case, found: Examined) -> Suspects:
    """Rank the new facts of a candidate that failed."""
    new = [fact.id for fact in case.ground.new]
    reach = {r.group: r for r in found.reaches}
    direct = _direct(new, reach, found.decision)
    outlying = _deviations({id_: r.size for id_, r in reach.items()})
    influence = _influences(workbench, case, hurt(found, case))
    whole = sum(influence.values()) or 1.0
    wrong = _wrong(found.report)

    def score(id_: str) -> float:
        outlier = max(0.0, outlying.get(id_, 0.0) - OUTLIER)
        return influence.get(id_, 0.0) / whole + wrong.get(id_, 0.0) + outlier

    rows = {
        id_: {
            "value_reach": round(reach[id_].ratio, 4) if id_ in reach else None,
            "value_size": round(reach[id_].size, 4) if id_ in reach else None,
            "share_of_influence": round(influence.get(id_, 0.0) / whole, 4),
            "wrong_answers": round(wrong.get(id_, 0.0), 4),
        }
        for id_ in new
    }
    ranked = sorted(new, key=lambda id_: (-score(id_), id_))
    own = tuple(id_ for id_ in ranked if id_ in direct)
    return Suspects(ranked=tuple(ranked), direct=own, evidence=rows)


def _direct(new: Sequence[str], reach: "Mapping[str, ValueShift]", decision: Decision) -> set[str]:
    """Facts that are wrong in themselves: a value that cannot be, or else, where nothing but answers failed, none of its own.

    Where other facts suffer too, a fact that does not answer may be a victim.
    """
    beyond = {id_ for id_ in new if id_ in reach and reach[id_].ratio > REACHED}
    if beyond:
        return beyond
    answers_only = all(finding.check in OF_ANSWERS for finding in decision.failed)
    return {id_ for f in decision.failed for id_ in f.facts} if answers_only else set()


def _deviations(sizes: Mapping[str, float]) -> dict[str, float]:
    """Each size's distance from the median in robust standard deviations (1.4826 · median absolute deviation)."""
    if len(sizes) < 3:
        return {}
    middle = median(sizes.values())
    spread = 1.4826 * median(abs(size - middle) for size in sizes.values())
    return {id_: (size - middle) / max(spread, 0.01 * middle) for id_, size in sizes.items()}


def _influences(workbench: Workbench, case: Case, texts: list[str]) -> dict[str, float]:
    from factd.editor.exams.influence import influences
    from factd.editor.methods._write import WriteSettings

    settings = workbench.method_settings()
    if not texts or not isinstance(settings, WriteSettings):
        return {}
    model = workbench.model()
    found = influences(model, case.batch, settings, workbench.workspace, texts)
    new = {fact.id for fact in case.ground.new}
    return {group: size for group, size in found.items() if group in new}


def _wrong(report: Mapping[str, Any]) -> dict[str, float]:
    """Per new fact the share of wrong answers in the written language where it is worst."""
    found: dict[str, float] = {}
    for row in report["facts"]:
        if row["new"] and row["written"]:
            share = 1 - answered(row)
            found[row["fact"]] = max(found.get(row["fact"], 0.0), share)
    return found


def hurt(found: Examined, case: Case) -> list[str]:
    """What to look for the cause of: prompts that are wrong now, and the texts that drifted where that is what failed."""
    checks = {finding.check for finding in found.decision.failed}
    texts = drifted(found.evidence, case.exam) if "drift" in checks else []
    return [*damaged(found.evidence), *texts]


def damaged(evidence: "Evidence") -> list[str]:
    """Prompts that were answered right before and are not now."""
    kinds = {p.kind for p in evidence.probes} - {*WRITTEN, "consequence", "alias"}
    prompts = [row.probe.prompt for row in evidence.answers_to(*sorted(kinds)) if _was_right(row)]
    return list(dict.fromkeys(prompts))[:DAMAGED]


def _was_right(row: "ProbeAnswers") -> bool:
    then = row.live if row.live is not None else row.before
    return (then.right or row.before.right) and not row.after.right


def drifted(evidence: "Evidence", exam: "Exam", count: int = 16) -> list[str]:
    """The held-out texts that drifted most, of every language."""
    found: list[str] = []
    for language, read in evidence.texts.items():
        kl = read.after.kl
        order = sorted(range(len(kl)), key=lambda n: -kl[n])[:count]
        found += [exam.texts[language][n] for n in order if n < len(exam.texts[language])]
    return found


def exam_of(decision: Decision, exam: "Exam") -> "Exam":
    """The part of an exam that the gates which failed look at."""
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
