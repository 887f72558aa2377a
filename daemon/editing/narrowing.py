"""Finds the facts that make a candidate fail, and sets facts aside with the evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factd.daemon.config.tables import BlameTable
from factd.daemon.editing import candidates, suspects
from factd.daemon.editing.blame import GuiltyFacts, blame
from factd.daemon.editing.candidates import Examination, Proposal
from factd.daemon.editing.suspects import Suspects
from factd.daemon.gates.configured import Gates
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
class FailureCause:
    """The facts that make a candidate fail and are to be set aside, or why no fact is."""

    facts: Mapping[str, Mapping[str, Any]]  # id -> evidence
    reasons: Mapping[str, str]  # id -> in words
    solves: int
    why_not: str = ""
    heads: bool = False  # the cause is the head corrections that are switched on, not the facts


def find_cause(
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    gates: Gates,
    table: BlameTable,
    proposal: Proposal,
    failed: Examination,
    *,
    solves: int,
) -> FailureCause:
    """The new facts without which a failed candidate passes, found with at most `solves` solves."""
    if heads_are_the_cause(paths, workbench, prompts, gates, proposal, failed):
        return FailureCause(facts={}, reasons={}, solves=0, heads=True)
    if not proposal.context.new or solves <= 0:
        return FailureCause(facts={}, reasons={}, solves=0, why_not="no new facts to look among")
    ranking = suspects.rank_suspects(workbench, proposal, failed)
    search = search_guilty(paths, workbench, prompts, gates, proposal, failed, ranking, solves)
    log.info(
        "candidate narrowed",
        guilty=len(search.guilty),
        solves=search.solves,
        complete=search.complete,
    )
    why_not = _why_not_acted_on(table, proposal, search)
    if why_not:
        return FailureCause(facts={}, reasons={}, solves=search.solves, why_not=why_not)
    failed_gates = [finding.gate for finding in failed.decision.failed]
    return FailureCause(
        facts={
            id_: {
                **ranking.evidence[id_],
                "found": search.evidence.get(id_, ""),
                "gates": failed_gates,
            }
            for id_ in search.guilty
        },
        reasons={id_: _reason(id_, failed.decision, ranking) for id_ in search.guilty},
        solves=search.solves,
    )


def _why_not_acted_on(table: BlameTable, proposal: Proposal, search: GuiltyFacts) -> str:
    """Why the guilty facts are not set aside; empty if they are."""
    if not search.complete:
        return f"{search.solves} solves did not find the facts that cause it"
    count = len(proposal.context.new)
    if len(search.guilty) > max(1, int(table.most * count)):
        share = f"{len(search.guilty)} of {count} new facts"
        return f"{share} would have to be set aside; look at the settings and the gates"
    return ""


def heads_are_the_cause(
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    gates: Gates,
    proposal: Proposal,
    failed: Examination,
) -> bool:
    """Whether the candidate passes without its head corrections.

    This takes no solve: the corrections are a part of the delta and are left out of it.
    """
    from factd.editor.heads.corrections import without_heads  # needs torch

    if not failed.delta.settings.get("head_corrections"):
        return False
    facts_only = without_heads(failed.delta)
    exam = suspects.exam_of_failed_gates(failed.decision, proposal.exam)
    only = _failed_gates(gates, failed)
    return candidates.examine(
        paths, workbench, prompts, gates, proposal, facts_only, exam=exam, only=only
    ).decision.accepted


def _failed_gates(gates: Gates, failed: Examination) -> list[Gate]:
    names = {finding.gate for finding in failed.decision.failed}
    return [gate for gate in gates.gates if gate.name in names]


def _reason(fact: str, decision: Decision, ranking: Suspects) -> str:
    """Why a fact is set aside: what was measured of it, else the gates that it makes fail."""
    reach = ranking.evidence[fact]["value_reach"]
    if reach is not None and reach > suspects.MOST_SHIFT:
        return f"its value lies {reach:.3g} times as far from the model's own as the settings allow"
    own = [finding.sentence for finding in decision.failed if fact in finding.facts]
    caused = "; ".join(finding.sentence for finding in decision.failed[:3])
    return own[0] if own else f"without it the gates pass, with it: {caused}"


def search_guilty(
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    gates: Gates,
    proposal: Proposal,
    failed: Examination,
    ranking: Suspects,
    solves: int,
) -> GuiltyFacts:
    """Search the guilty facts. No trial is needed if every failed gate names facts as its cause."""
    direct, findings = ranking.direct, failed.decision.failed
    if direct and all(set(finding.facts) & set(direct) for finding in findings):
        evidence = dict.fromkeys(direct, "measured on the fact itself")
        return GuiltyFacts(guilty=direct, solves=0, complete=True, evidence=evidence)
    only = _failed_gates(gates, failed)
    exam = suspects.exam_of_failed_gates(failed.decision, proposal.exam)

    def passes(left_out: frozenset[str]) -> bool:
        rest = without_facts(prompts, proposal, left_out)
        delta = candidates.solve(workbench, rest.batch)
        asked = replace(exam, probes=tuple(p for p in exam.probes if p.fact not in left_out))
        decision = candidates.examine(
            paths, workbench, prompts, gates, rest, delta, exam=asked, only=only
        ).decision
        log.info("tried without", facts=len(left_out), passes=decision.accepted)
        return decision.accepted

    return blame(ranking.ranked, passes, solves=solves, direct=direct)


def without_facts(
    prompts: PromptSettings, proposal: Proposal, left_out: frozenset[str]
) -> Proposal:
    """The proposal without some of its new facts."""
    context = replace(
        proposal.context,
        new=tuple(fact for fact in proposal.context.new if fact.id not in left_out),
    )
    rest = replace(proposal, context=context)
    batch = edits.edit_batch(rest.facts, context.before, prompts)
    return replace(rest, batch=batch)


def set_aside(
    ledger: Ledger,
    reasons: Mapping[str, str],
    evidence: Mapping[str, Mapping[str, Any]],
    candidate: int | None,
) -> Sequence[QuarantinedFact]:
    """Reject the values of facts, and store the reason and the evidence.

    `factd facts approve` or `factd facts lift` undoes it.
    """
    rows = [
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
        for row in rows:
            queries.resolution.rule(
                session,
                [row.fact_id],
                Ruling.REJECTED,
                ledger.resolver,
                why=row.reason,
                who=WHO,
                now=ledger.now(),
            )
            queries.evidence.add_to_quarantine(session, row)
    log.info("facts set aside", facts=[row.fact_id for row in rows], candidate=candidate)
    return rows
