"""One candidate of an edit: created, solved, examined, judged, and accepted or rejected.

Every change of its status is a transaction of its own, so that the next start knows how far a
candidate came.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from factd.daemon.editing import candidates, proof_questions, truncation
from factd.daemon.editing.candidates import Examination, Progress, Proposal
from factd.daemon.editing.parts import EditParts
from factd.daemon.errors import Refused
from factd.daemon.evaluation import report_page
from factd.daemon.gates import policy
from factd.daemon.ledger import Ledger
from factd.daemon.log import BATCH_DIGITS, log
from factd.store import queries
from factd.store.errors import Overtaken
from factd.store.model.evidence import QuarantinedFact
from factd.store.model.facts import Fact
from factd.store.model.operations import Consent
from factd.store.model.releases import Candidate, CandidateStatus


@dataclass(frozen=True, kw_only=True)
class EditResult:
    """The outcome of an edit: its last candidate, with the decision."""

    candidate: int
    batch_id: str
    facts: int
    edits: int
    decision: policy.Decision
    release: int | None  # number of the accepted release
    seconds: dict[str, float]  # of loading the model, of values and solve, of the checks
    report: Mapping[str, Any]  # of the checks, as JSON
    set_aside: tuple[QuarantinedFact, ...] = ()  # on the way to this candidate
    solves: int = 0  # that the search for guilty facts took
    earlier: tuple[int, ...] = ()  # candidates that were rejected on the way

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "candidate": self.candidate,
            "batch_id": self.batch_id,
            "facts": self.facts,
            "edits": self.edits,
            "accepted": self.decision.accepted,
            "reasons": list(self.decision.reasons),
            "release": self.release,
            "set_aside": [one.as_json() for one in self.set_aside],
            "blame_solves": self.solves,
            "rejected_on_the_way": list(self.earlier),
            "seconds": self.seconds,
            "measurements": self.report.get("measurements", []),
        }


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One candidate of an edit, with its decision and measurements."""

    result: EditResult
    proposal: Proposal
    examination: Examination


def log_ids(candidate: int, proposal: Proposal) -> dict[str, Any]:
    """The ids that log lines about a candidate carry."""
    return {"candidate": candidate, "batch": proposal.batch.id[:BATCH_DIGITS]}


def begin(
    parts: EditParts, facts: Sequence[Fact], *, again: bool, rejected: Sequence[int]
) -> tuple[Candidate, Proposal]:
    """Create a candidate that is to hold these facts. Returns it with its proposal.

    again: allow a batch that was rejected before. rejected: candidates that this edit has rejected.
    Raises: Refused: the same batch was rejected before. BadEdit: two facts cannot be told apart.
    """
    ledger = parts.ledger
    live = candidates.live_release(ledger)
    proposal = candidates.propose(ledger, parts.paths, parts.workbench, parts.prompts, facts, live)
    _refuse_rejected(ledger, proposal, rejected, again=again)
    with ledger.changing() as session:
        candidate = queries.releases.create_candidate(
            session, batch_id=proposal.batch.id, fact_ids=proposal.ids, now=ledger.now()
        )
    ids = log_ids(candidate.id, proposal)
    log.info("candidate planned", facts=len(proposal.ids), edits=len(proposal.batch), **ids)
    return candidate, proposal


def finish(
    parts: EditParts,
    candidate: Candidate,
    proposal: Proposal,
    aside: Sequence[QuarantinedFact],
    progress: Progress,
    *,
    who: str,
    why: str,
) -> Attempt:
    """Take a new candidate to its decision. If anything goes wrong on the way, it is abandoned.

    aside: what the edit has set aside so far. Raises: EditorError: names the fact that cannot be
    written, where one fact is the cause.
    """
    try:
        return _solve_and_judge(parts, candidate, proposal, aside, progress, who=who, why=why)
    except Overtaken:
        raise  # the process that took over has abandoned the candidate
    except BaseException:
        with parts.ledger.changing() as session:
            queries.releases.abandon_unfinished(session, now=parts.ledger.now())
        raise


def _refuse_rejected(
    ledger: Ledger, proposal: Proposal, rejected: Sequence[int], *, again: bool
) -> None:
    """Raises: Refused: an operator refused this batch, or an earlier edit rejected it."""
    with ledger.read() as session:
        before = queries.releases.list_candidates(session)
        approval = queries.approvals.approval(session, proposal.batch.id)
    if approval is not None and approval.consent is Consent.REFUSED:
        raise Refused(
            f"{approval.who} refused this batch ({approval.why or 'no reason given'}); "
            "`factd facts withdraw ID` takes out what is wrong in it"
        )
    same = [
        candidate.id
        for candidate in before
        if candidate.batch_id == proposal.batch.id
        and candidate.status is CandidateStatus.REJECTED
        and candidate.narrowed
        and candidate.id not in rejected
    ]
    if same and not again:
        raise Refused(
            f"candidate {same[0]} with the same facts was rejected; "
            "change facts or gates, or use --again"
        )


def _solve_and_judge(
    parts: EditParts,
    candidate: Candidate,
    proposal: Proposal,
    aside: Sequence[QuarantinedFact],
    progress: Progress,
    *,
    who: str,
    why: str,
) -> Attempt:
    """Take a new candidate through its statuses to the decision."""
    from factd.editor.deltas.delta import save_delta  # needs torch

    ledger, folder = parts.ledger, parts.paths.candidate(candidate.id)
    _move(ledger, candidate.id, CandidateStatus.PLANNED, CandidateStatus.SOLVING)
    started = time.monotonic()
    parts.workbench.model()
    loaded = time.monotonic()
    delta = candidates.solve(parts.workbench, proposal.batch, progress)
    save_delta(delta, folder / "delta")
    solved = time.monotonic()
    after = CandidateStatus.CHECKING
    _move(ledger, candidate.id, CandidateStatus.SOLVING, after, delta_id=delta.id)
    examination = _examine(parts, candidate, proposal, delta, aside)
    checked = time.monotonic()
    release = _record_decision(parts, candidate, examination, who=who, why=why)
    title = f"candidate {candidate.id}: {len(proposal.ids)} facts"
    report_page.write_page(
        ledger,
        parts.paths,
        parts.workbench,
        parts.prompts,
        candidate.id,
        examination.report,
        title,
    )
    seconds = {"load": loaded - started, "edit": solved - loaded, "checks": checked - solved}
    result = EditResult(
        candidate=candidate.id,
        batch_id=proposal.batch.id,
        facts=len(proposal.ids),
        edits=len(proposal.batch),
        decision=examination.decision,
        release=release,
        seconds={name: round(value, 3) for name, value in seconds.items()},
        report=examination.report,
        set_aside=tuple(aside),
    )
    return Attempt(result=result, proposal=proposal, examination=examination)


def _examine(
    parts: EditParts,
    candidate: Candidate,
    proposal: Proposal,
    delta: Any,
    aside: Sequence[QuarantinedFact],
) -> Examination:
    """Examine the candidate and write its report. If it passed, record questions for servers."""
    from factd.editor.exams.exam import AnswerCache  # needs torch

    folder = parts.paths.candidate(candidate.id)
    examination = candidates.examine(
        parts.paths,
        parts.workbench,
        parts.prompts,
        parts.gates,
        proposal,
        delta,
        memory=AnswerCache.load(folder / "answers.json"),
    )
    report = {**examination.report, "set_aside": [one.as_json() for one in aside]}
    examination = replace(examination, report=report)
    candidates.write_report(parts.paths, candidate.id, examination.report)
    if examination.decision.accepted:
        truncation.truncate_and_measure(parts, proposal, candidate.id, delta)
        proof_questions.record_proof(
            parts.ledger,
            parts.paths,
            parts.workbench,
            parts.prompts,
            parts.fleet,
            proposal,
            delta,
            folder,
        )
    return examination


def _move(
    ledger: Ledger, id_: int, before: CandidateStatus, after: CandidateStatus, **values: Any
) -> None:
    with ledger.changing() as session:
        queries.releases.move_candidate(session, id_, before, after, now=ledger.now(), **values)
    log.info("candidate moved", candidate=id_, status=after.value)


def _record_decision(
    parts: EditParts, candidate: Candidate, examination: Examination, *, who: str, why: str
) -> int | None:
    """Record the decision and, if the candidate is accepted, its release, in one transaction.

    Returns the number of the release, or None for a rejected candidate.
    """
    ledger, decision = parts.ledger, examination.decision
    after = CandidateStatus.ACCEPTED if decision.accepted else CandidateStatus.REJECTED
    values = {"report": dict(examination.report), "reasons": list(decision.reasons)}
    with ledger.changing() as session:
        now, before = ledger.now(), CandidateStatus.CHECKING
        queries.releases.move_candidate(session, candidate.id, before, after, now=now, **values)
        made = None
        if decision.accepted:
            made = queries.releases.create_release(
                session,
                candidate_id=candidate.id,
                delta_id=examination.delta.id,
                fact_ids=candidate.fact_ids,
                who=who,
                why=why,
                now=now,
                base=parts.workbench.base_number,
            )
            queries.releases.withdraw_older_accepted(session, made.number, now=now)
    reasons = list(decision.reasons)
    log.info("candidate judged", candidate=candidate.id, status=after.value, reasons=reasons)
    return made.number if made else None
