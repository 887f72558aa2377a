"""When a candidate fails: find the facts that cause it, set them aside with what speaks against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factd.daemon.config.tables import BlameTable
from factd.daemon.editing import candidates, suspects
from factd.daemon.editing.blame import Blamed, blame
from factd.daemon.editing.candidates import Case, Examined
from factd.daemon.editing.suspects import Suspects
from factd.daemon.gates.measures import Gates
from factd.daemon.gates.policy import Decision, Gate
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.paths import Paths
from factd.daemon.prompts import edits
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.evidence import QuarantinedFact
from factd.store.model.facts import Ruling

WHO = "factd"


@dataclass(frozen=True, kw_only=True)
class Narrowed:
    """The facts that are to be set aside, or why none are."""

    facts: Mapping[str, Mapping[str, Any]]  # id -> evidence
    reasons: Mapping[str, str]  # id -> in words
    solves: int
    why_not: str = ""
    heads: bool = False  # not facts but the head corrections that are switched on


def narrow(
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    gates: Gates,
    blame: BlameTable,
    case: Case,
    found: Examined,
    *,
    solves: int,
) -> Narrowed:
    """The new facts without which a failed candidate passes, by at most `solves` solves."""
    if heads_cause(paths, workbench, prompts, gates, case, found):
        return Narrowed(facts={}, reasons={}, solves=0, heads=True)
    if not case.ground.new or solves <= 0:
        return Narrowed(facts={}, reasons={}, solves=0, why_not="no new facts to look among")
    suspect = suspects.suspects(workbench, case, found)
    search = blamed(paths, workbench, prompts, gates, case, found, suspect, solves)
    log.info(
        "candidate narrowed",
        guilty=len(search.guilty),
        solves=search.solves,
        complete=search.complete,
    )
    why_not = _doubt(blame, case, search)
    if why_not:
        return Narrowed(facts={}, reasons={}, solves=search.solves, why_not=why_not)
    failed = [finding.gate for finding in found.decision.failed]
    return Narrowed(
        facts={
            id_: {**suspect.evidence[id_], "found": search.evidence.get(id_, ""), "gates": failed}
            for id_ in search.guilty
        },
        reasons={id_: _reason(id_, found.decision, suspect) for id_ in search.guilty},
        solves=search.solves,
    )


def _doubt(blame: BlameTable, case: Case, search: Blamed) -> str:
    """Why what a search found is not acted on; empty where it is."""
    if not search.complete:
        return f"{search.solves} solves did not find the facts that cause it"
    count = len(case.ground.new)
    if len(search.guilty) > max(1, int(blame.most * count)):
        share = f"{len(search.guilty)} of {count} new facts"
        return f"{share} would have to be set aside; look at the settings and the gates"
    return ""


def heads_cause(
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    gates: Gates,
    case: Case,
    found: Examined,
) -> bool:
    """The candidate passes without its head corrections; no solve, they are a part of the delta."""
    from factd.editor.heads.corrections import without_heads

    if not found.delta.settings.get("head_corrections"):
        return False
    plain = without_heads(found.delta)
    exam = suspects.exam_of(found.decision, case.exam)
    return candidates.examined(
        paths, workbench, prompts, gates, case, plain, exam=exam, only=_failed_gates(gates, found)
    ).decision.accepted


def _failed_gates(gates: Gates, found: Examined) -> list[Gate]:
    names = {finding.gate for finding in found.decision.failed}
    return [gate for gate in gates.gates if gate.name in names]


def _reason(fact: str, decision: Decision, suspect: Suspects) -> str:
    """What speaks against a fact, in words: what was measured on itself, else what it causes."""
    reach = suspect.evidence[fact]["value_reach"]
    if reach is not None and reach > suspects.REACHED:
        return f"its value lies {reach:.3g} times as far from the model's own as the settings allow"
    own = [finding.sentence for finding in decision.failed if fact in finding.facts]
    caused = "; ".join(finding.sentence for finding in decision.failed[:3])
    return own[0] if own else f"without it the gates pass, with it: {caused}"


def blamed(
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    gates: Gates,
    case: Case,
    found: Examined,
    suspect: Suspects,
    solves: int,
) -> Blamed:
    """The search; without a trial where every gate that failed names its facts."""
    failed = found.decision.failed
    if suspect.direct and all(set(f.facts) & set(suspect.direct) for f in failed):
        evidence = dict.fromkeys(suspect.direct, "measured on the fact itself")
        return Blamed(guilty=suspect.direct, solves=0, complete=True, evidence=evidence)
    only = _failed_gates(gates, found)
    exam = suspects.exam_of(found.decision, case.exam)

    def passes(left_out: frozenset[str]) -> bool:
        rest = without(prompts, case, left_out)
        delta = candidates.solved(workbench, rest.batch)
        asked = replace(exam, probes=tuple(p for p in exam.probes if p.fact not in left_out))
        said = candidates.examined(
            paths, workbench, prompts, gates, rest, delta, exam=asked, only=only
        ).decision
        log.info("tried without", facts=len(left_out), passes=said.accepted)
        return said.accepted

    return blame(suspect.ranked, passes, solves=solves, direct=suspect.direct)


def without(prompts: PromptSettings, case: Case, left_out: frozenset[str]) -> Case:
    """The case less some of its new facts."""
    ground = replace(
        case.ground, new=tuple(fact for fact in case.ground.new if fact.id not in left_out)
    )
    rest = replace(case, ground=ground)
    batch = edits.edit_batch(rest.facts, ground.before, prompts)
    return replace(rest, batch=batch)


def set_aside(
    ledger: Ledger,
    reasons: Mapping[str, str],
    evidence: Mapping[str, Mapping[str, Any]],
    candidate: int | None,
) -> Sequence[QuarantinedFact]:
    """Reject the values of some facts, with the reason and the evidence; `factd facts approve` or `lift` undoes it."""
    found = [
        QuarantinedFact(
            fact_id=id_,
            candidate_id=candidate,
            reason=reason,
            evidence=evidence.get(id_, {}),
            at=ledger.now(),
        )
        for id_, reason in reasons.items()
    ]
    with ledger.changing() as session:
        for one in found:
            queries.resolution.rule(
                session,
                [one.fact_id],
                Ruling.REJECTED,
                ledger.resolver,
                why=one.reason,
                who=WHO,
                now=ledger.now(),
            )
            queries.evidence.add_to_quarantine(session, one)
    log.info("facts set aside", facts=[one.fact_id for one in found], candidate=candidate)
    return found
