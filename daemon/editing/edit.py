"""The edit: one pipeline from a plan to a candidate that is accepted, or rejected.

plan → screen → ask sources again → ask the base model → screen → try the wordings
     → (render → solve → examine → judge → narrow) until a candidate is accepted

The plan is made once, by the caller. Each step takes the plan as the step before left it; what is
set aside on the way is subtracted from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from factd.daemon.editing import head_corrections, narrowing
from factd.daemon.editing.attempt import Attempt, EditResult, begin, finish, log_ids
from factd.daemon.editing.candidates import Progress, quiet
from factd.daemon.editing.parts import EditParts
from factd.daemon.editing.settings import pin_settings
from factd.daemon.errors import Refused
from factd.daemon.log import bound, log
from factd.daemon.planning import recheck
from factd.daemon.planning.plan import Planned, narrowed
from factd.editor.errors import EditorError
from factd.store import queries
from factd.store.model.evidence import QuarantinedFact

ATTEMPTS = 6  # rejected candidates of one edit, each without what the one before set aside


@dataclass
class EditRun:
    """One edit under way: the plan as it stands, what was set aside, how many solves are left."""

    parts: EditParts
    planned: Planned
    who: str
    why: str
    again: bool  # also write a batch that was rejected before
    progress: Progress
    solves: int  # that the search for guilty facts may still use
    aside: list[QuarantinedFact] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)  # candidates
    log_ids: dict[str, Any] = field(default_factory=dict)  # of the last candidate

    def set_aside(
        self,
        reasons: Mapping[str, str],
        evidence: Mapping[str, Mapping[str, Any]],
        *,
        candidate: int | None = None,
        refill: bool = False,
    ) -> None:
        """Set facts aside and take them out of the plan. refill: other facts take their place."""
        if reasons:
            parts = self.parts
            self.aside += narrowing.set_aside(parts.ledger, reasons, evidence, candidate)
            self.planned = narrowed(
                parts.ledger, parts.prompts, parts.planning, self.planned, refill=refill
            )

    @property
    def changed(self) -> bool:
        """There is something to write, or to leave out."""
        parts = self.parts
        return self.planned.changed or head_corrections.differ_from_live(
            parts.ledger, parts.paths, parts.workbench
        )

    @property
    def solves_used(self) -> int:
        """The solves that the search for guilty facts took."""
        return self.parts.blame.solves - self.solves


def edit(
    parts: EditParts,
    planned: Planned,
    *,
    who: str,
    why: str,
    again: bool = False,
    progress: Progress = quiet,
) -> EditResult:
    """Write a plan: one accepted or rejected candidate. An accepted one has a release to publish.

    Facts that cannot be written, or that make a candidate fail, are set aside; the others go on.
    again: also write a batch that was rejected before. Raises: Refused: frozen, nothing to do, or
    the same batch was rejected before.
    """
    parts.ledger.refuse_if_frozen()
    run = EditRun(
        parts=parts,
        planned=planned,
        who=who,
        why=why,
        again=again,
        progress=progress,
        solves=parts.blame.solves,
    )
    _prepare(run)
    if not run.changed:
        raise Refused(_nothing_to_do(run))
    pin_settings(parts, run.planned, progress=progress)
    return _attempts(run)


def _prepare(run: EditRun) -> None:
    """Everything that is known of the new facts before anything is solved."""
    parts = run.parts
    _screen(run, refill=True)
    run.planned = recheck.rechecked(
        parts.ledger, parts.prompts, parts.planning, parts.sources, run.planned
    )
    run.planned = recheck.without_known(
        parts.ledger, parts.workbench, parts.prompts, parts.planning, run.planned
    )
    _screen(run, refill=False)  # facts that came in place of others
    worded = recheck.badly_worded(parts.ledger, parts.workbench, parts.prompts, run.planned)
    run.set_aside(worded, {})


def _screen(run: EditRun, *, refill: bool) -> None:
    """Set aside the new facts that must not be written."""
    parts = run.parts
    suspects = recheck.screened(parts.ledger, parts.prompts, parts.planning, run.planned)
    reasons = {suspect.fact: suspect.reason for suspect in suspects}
    evidence = {suspect.fact: suspect.evidence for suspect in suspects}
    run.set_aside(reasons, evidence, refill=refill)


def _nothing_to_do(run: EditRun) -> str:
    held = f"nothing to do: release {run.planned.live} holds all {len(run.planned.facts)} facts"
    if not run.aside:
        return held
    first = run.aside[0]
    return (
        f"{held}; {len(run.aside)} new ones were set aside ({first.fact_id}: {first.reason}); "
        "see `factd quarantine list`"
    )


def _attempts(run: EditRun) -> EditResult:
    """Candidates until one is accepted, or nothing more can be set aside."""
    attempt: Attempt | None = None
    for _ in range(ATTEMPTS + len(run.planned.added)):
        try:
            attempt = _attempt(run)
        except EditorError as error:
            if error.group not in run.planned.added:
                raise
            _leave_out(run, error)
        else:
            if attempt.result.decision.accepted or len(run.rejected) >= ATTEMPTS:
                return attempt.result
            if not _narrow(run, attempt):
                break
        if not run.changed:
            break
    if attempt is None:
        raise Refused(_nothing_to_do(run))
    return replace(attempt.result, set_aside=tuple(run.aside), solves=run.solves_used)


def _attempt(run: EditRun) -> Attempt:
    """The plan as one candidate, with what the edit did before it."""
    run.log_ids = {}
    candidate, proposal = begin(
        run.parts, run.planned.facts, again=run.again, rejected=run.rejected
    )
    run.log_ids = log_ids(candidate.id, proposal)
    with bound(**run.log_ids):
        attempt = finish(
            run.parts, candidate, proposal, run.aside, run.progress, who=run.who, why=run.why
        )
    result = replace(attempt.result, solves=run.solves_used, earlier=tuple(run.rejected))
    return replace(attempt, result=result)


def _leave_out(run: EditRun, error: EditorError) -> None:
    """Set aside a fact that the editor refuses to write."""
    fact = str(error.group)
    evidence = {fact: {"error": type(error).__name__}}
    with bound(**run.log_ids):
        log.error("fact cannot be written", fact=fact, error=str(error))
        run.set_aside({fact: f"cannot be written: {error}"}, evidence)


def _narrow(run: EditRun, attempt: Attempt) -> bool:
    """Set aside what makes a candidate fail. False if no cause was found."""
    parts, candidate = run.parts, attempt.result.candidate
    run.rejected.append(candidate)
    with bound(**run.log_ids):
        cause = narrowing.find_cause(
            parts.paths,
            parts.workbench,
            parts.prompts,
            parts.gates,
            parts.blame,
            attempt.proposal,
            attempt.examination,
            solves=run.solves,
        )
        run.solves -= cause.solves
        if cause.heads:
            _switch_heads_off(parts, attempt)
        elif cause.facts:
            run.set_aside(cause.reasons, cause.facts, candidate=candidate)
        else:
            log.info("nothing set aside", candidate=candidate, why=cause.why_not)
        with parts.ledger.changing() as session:
            queries.releases.mark_narrowed(session, candidate)
    return cause.heads or bool(cause.facts)


def _switch_heads_off(parts: EditParts, attempt: Attempt) -> None:
    """Switch off head corrections that made a candidate fail; `factd heads on` tries them again."""
    from factd.editor.heads.corrections import switch, switched_on  # needs torch

    ledger, workspace = parts.ledger, parts.workbench.workspace
    base = parts.workbench.model().fingerprint
    why = "; ".join(attempt.result.decision.reasons[:2])
    for held in switched_on(workspace, base):
        switch(workspace, base, held.language, "off")
        what = f"heads off {held.language}, for candidate {attempt.result.candidate}"
        with ledger.changing() as session:
            queries.releases.log_action(session, who="factd", what=what, why=why, now=ledger.now())
        log.error("head corrections switched off", language=held.language, why=why)
