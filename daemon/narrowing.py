"""When a candidate fails: find the facts that cause it, set them aside with what speaks against them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from daemon import candidates, render, suspects
from daemon.blame import Blamed, blame
from daemon.bootstrap import Factd
from daemon.candidates import Case, Examined
from daemon.log import log
from daemon.policy import Decision, Gate
from daemon.suspects import Suspects
from store import measured_queries, settling
from store.facts import Ruling
from store.measured import SetAside

WHO = "factd"


@dataclass(frozen=True, kw_only=True)
class Narrowed:
    """The facts that are to be set aside, or why none are."""

    facts: Mapping[str, Mapping[str, Any]]  # id -> evidence
    reasons: Mapping[str, str]  # id -> in words
    solves: int
    why_not: str = ""
    heads: bool = False  # not facts but the head corrections that are switched on


def narrow(factd: Factd, case: Case, found: Examined, *, solves: int) -> Narrowed:
    """The new facts without which a failed candidate passes, by at most `solves` solves."""
    if heads_cause(factd, case, found):
        return Narrowed(facts={}, reasons={}, solves=0, heads=True)
    if not case.ground.new or solves <= 0:
        return Narrowed(facts={}, reasons={}, solves=0, why_not="no new facts to look among")
    suspect = suspects.suspects(factd, case, found)
    found_guilty = blamed(factd, case, found, suspect, solves)
    most = max(1, int(factd.config.blame.most * len(case.ground.new)))
    log.info(
        "candidate narrowed",
        guilty=len(found_guilty.guilty),
        solves=found_guilty.solves,
        complete=found_guilty.complete,
    )
    if not found_guilty.complete:
        return _none(
            found_guilty, f"{found_guilty.solves} solves did not find the facts that cause it"
        )
    if len(found_guilty.guilty) > most:
        share = f"{len(found_guilty.guilty)} of {len(case.ground.new)} new facts"
        return _none(
            found_guilty, f"{share} would have to be set aside; look at the settings and the gates"
        )
    why = "; ".join(finding.sentence for finding in found.decision.failed[:4])
    return Narrowed(
        facts={
            id_: {
                **suspect.evidence[id_],
                "found": found_guilty.evidence.get(id_, ""),
                "gates": [f.gate for f in found.decision.failed],
            }
            for id_ in found_guilty.guilty
        },
        reasons={id_: _reason(id_, found.decision, why) for id_ in found_guilty.guilty},
        solves=found_guilty.solves,
    )


def heads_cause(factd: Factd, case: Case, found: Examined) -> bool:
    """The candidate passes without its head corrections; no solve, they are a part of the delta."""
    from editor.corrections import without_heads

    if not found.delta.settings.get("head_corrections"):
        return False
    plain = without_heads(found.delta)
    exam = suspects.exam_of(found.decision, case.exam)
    return candidates.examined(
        factd, case, plain, exam=exam, gates=_failed_gates(factd, found)
    ).decision.accepted


def _failed_gates(factd: Factd, found: Examined) -> list[Gate]:
    names = {finding.gate for finding in found.decision.failed}
    return [gate for gate in factd.gates if gate.name in names]


def _none(blamed: Blamed, why: str) -> Narrowed:
    return Narrowed(facts={}, reasons={}, solves=blamed.solves, why_not=why)


def _reason(fact: str, decision: Decision, why: str) -> str:
    own = [finding.sentence for finding in decision.failed if fact in finding.facts]
    return f"caused: {own[0] if own else why}"


def blamed(factd: Factd, case: Case, found: Examined, suspect: Suspects, solves: int) -> Blamed:
    """The search; without a trial where every gate that failed names its facts."""
    failed = found.decision.failed
    if suspect.direct and all(set(f.facts) & set(suspect.direct) for f in failed):
        evidence = dict.fromkeys(suspect.direct, "measured on the fact itself")
        return Blamed(guilty=suspect.direct, solves=0, complete=True, evidence=evidence)
    gates = _failed_gates(factd, found)
    exam = suspects.exam_of(found.decision, case.exam)

    def passes(left_out: frozenset[str]) -> bool:
        rest = without(factd, case, left_out)
        delta = candidates.solved(factd, rest.batch)
        asked = replace(exam, probes=tuple(p for p in exam.probes if p.fact not in left_out))
        said = candidates.examined(factd, rest, delta, exam=asked, gates=gates).decision
        log.info("tried without", facts=len(left_out), passes=said.accepted)
        return said.accepted

    return blame(suspect.ranked, passes, solves=solves, direct=suspect.direct)


def without(factd: Factd, case: Case, left_out: frozenset[str]) -> Case:
    """The case less some of its new facts."""
    ground = replace(
        case.ground, new=tuple(fact for fact in case.ground.new if fact.id not in left_out)
    )
    rest = replace(case, ground=ground)
    batch = render.edit_batch(rest.facts, ground.before, factd.plan)
    return replace(rest, batch=batch)


def set_aside(
    factd: Factd,
    reasons: Mapping[str, str],
    evidence: Mapping[str, Mapping[str, Any]],
    candidate: int | None,
) -> Sequence[SetAside]:
    """Reject the values of some facts, with the reason and the evidence; `factd facts approve` or `lift` undoes it."""
    found = [
        SetAside(
            fact_id=id_,
            candidate_id=candidate,
            reason=reason,
            evidence=evidence.get(id_, {}),
            at=factd.now(),
        )
        for id_, reason in reasons.items()
    ]
    with factd.store.begin() as session:
        for one in found:
            settling.rule(
                session,
                [one.fact_id],
                Ruling.REJECTED,
                factd.judge,
                why=one.reason,
                who=WHO,
                now=factd.now(),
            )
            measured_queries.set_aside(session, one)
    log.info("facts set aside", facts=[one.fact_id for one in found], candidate=candidate)
    return found
