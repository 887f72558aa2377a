"""The edit: plan, solve, check, narrow. Candidates until one is accepted, or nothing more is found to set aside."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from factd.daemon.app import App
from factd.daemon.artefacts import proof
from factd.daemon.editing import candidates, narrowing, truncation
from factd.daemon.editing.candidates import Case, Examined, Progress, quiet
from factd.daemon.errors import Refused
from factd.daemon.evaluation import report_page
from factd.daemon.gates import policy
from factd.daemon.ledger import Ledger
from factd.daemon.log import BATCH_DIGITS, bound, log
from factd.daemon.planning.plan import Planned, plan
from factd.daemon.planning.recheck import (
    badly_worded,
    certain,
    heads_changed,
    planned_again,
    screened,
)
from factd.daemon.publishing.publish import refuse_frozen
from factd.daemon.tracing import span
from factd.store import queries
from factd.store.errors import Overtaken
from factd.store.model.evidence import QuarantinedFact
from factd.store.model.operations import Consent
from factd.store.model.releases import Candidate, CandidateStatus

if TYPE_CHECKING:
    from factd.editor.errors import EditorError

ATTEMPTS = 6  # candidates that one edit makes at most, each without what the last one set aside


@dataclass(frozen=True, kw_only=True)
class Edited:
    """A candidate with its decision."""

    candidate: int
    batch_id: str
    facts: int
    edits: int
    decision: policy.Decision
    release: int | None  # number of the accepted release
    seconds: dict[str, float]  # values and solve, checks
    report: Mapping[str, Any]  # of the checks, as JSON
    set_aside: tuple[QuarantinedFact, ...] = ()  # on the way to this candidate
    solves: int = 0  # that looking for them took
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


@dataclass
class Cycle:
    """One edit under way: what is planned, what was set aside, how many solves are left."""

    app: App
    planned: Planned
    who: str
    why: str
    again: bool
    progress: Progress
    solves: int  # left
    aside: list[QuarantinedFact] = field(default_factory=list)
    rejected: list[int] = field(default_factory=list)
    ids: dict[str, Any] = field(default_factory=dict)  # of the last candidate, for log lines

    def put_aside(
        self,
        reasons: Mapping[str, str],
        evidence: Mapping[str, Mapping[str, Any]],
        candidate: int | None,
    ) -> None:
        """Set facts aside and plan without them."""
        self.aside += narrowing.set_aside(self.app.ledger, reasons, evidence, candidate)
        self.planned = planned_again(
            self.app.ledger, self.app.prompts, self.app.planning, self.planned
        )

    @property
    def changed(self) -> bool:
        """There is something to write, or to leave out."""
        return self.planned.changed or heads_changed(
            self.app.ledger, self.app.paths, self.app.workbench
        )


@span("edit")
def edit(
    app: App, *, who: str, why: str, again: bool = False, progress: Progress = quiet
) -> Edited:
    """Plan, solve and check: one accepted or rejected candidate, an accepted one with its release (not yet published).

    Facts that cannot be written, or make a candidate fail, are set aside, and the others go on.
    again: also where the same batch was rejected before. Raises: Refused: frozen, nothing to do, rejected before.
    """
    refuse_frozen(app.ledger)
    cycle = Cycle(
        app=app,
        planned=plan(app.ledger, app.prompts, app.planning),
        who=who,
        why=why,
        again=again,
        progress=progress,
        solves=app.config.blame.solves,
    )
    _screen(cycle)
    cycle.planned = certain(app.ledger, app.workbench, app.prompts, app.planning, app.sources)
    _screen(cycle)
    worded = badly_worded(app.ledger, app.workbench, app.prompts, cycle.planned)
    if worded:
        cycle.put_aside(worded, {}, None)
    if not cycle.changed:
        raise Refused(_nothing(cycle))
    return _attempts(cycle)


def _screen(cycle: Cycle) -> None:
    """Set aside what must not be written; before the base is asked, and again for what came in its place."""
    wrong = screened(cycle.app.ledger, cycle.app.prompts, cycle.app.planning, cycle.planned)
    if wrong:
        reasons = {suspect.fact: suspect.reason for suspect in wrong}
        cycle.put_aside(reasons, {suspect.fact: suspect.evidence for suspect in wrong}, None)


def _nothing(cycle: Cycle) -> str:
    held = f"nothing to do: release {cycle.planned.live} holds all {len(cycle.planned.facts)} facts"
    if not cycle.aside:
        return held
    first = cycle.aside[0]
    return (
        f"{held}; {len(cycle.aside)} new ones were set aside ({first.fact_id}: {first.reason}); "
        "see `factd quarantine list`"
    )


def _attempts(cycle: Cycle) -> Edited:
    """Candidates until one is accepted, or nothing more is found to set aside."""
    from factd.editor.errors import EditorError

    found: Edited | None = None
    for _ in range(ATTEMPTS + len(cycle.planned.added)):
        try:
            found, case, measured = _attempt(cycle)
        except EditorError as error:
            if error.group not in cycle.planned.added:
                raise
            with bound(**cycle.ids):
                _leave_out(cycle, error)
        else:
            if found.decision.accepted or len(cycle.rejected) >= ATTEMPTS:
                return found
            with bound(**cycle.ids):
                narrowed = _narrowed(cycle, found, case, measured)
            if not narrowed:
                return _told(cycle, found)
        if not cycle.changed:
            break
    if found is None:
        raise Refused(_nothing(cycle))
    return _told(cycle, found)


def _told(cycle: Cycle, found: Edited) -> Edited:
    """With what was set aside since."""
    return replace(found, set_aside=tuple(cycle.aside), solves=_used(cycle))


def _used(cycle: Cycle) -> int:
    return cycle.app.config.blame.solves - cycle.solves


def _leave_out(cycle: Cycle, error: "EditorError") -> None:
    """A fact that the editor cannot write, by its own word."""
    log.error("fact cannot be written", fact=error.group, error=str(error))
    evidence = {error.group: {"error": type(error).__name__}}
    cycle.put_aside({error.group: f"cannot be written: {error}"}, evidence, None)


def _narrowed(cycle: Cycle, found: Edited, case: Case, measured: Examined) -> bool:
    """Set aside the facts that make a candidate fail; False where none are found."""
    cycle.rejected.append(found.candidate)
    narrowed = narrowing.narrow(
        cycle.app.paths,
        cycle.app.workbench,
        cycle.app.prompts,
        cycle.app.gates,
        cycle.app.config.blame,
        case,
        measured,
        solves=cycle.solves,
    )
    cycle.solves -= narrowed.solves
    if narrowed.heads:
        _switch_heads_off(cycle, found)
    elif narrowed.facts:
        cycle.put_aside(narrowed.reasons, narrowed.facts, found.candidate)
    else:
        log.info("nothing set aside", candidate=found.candidate, why=narrowed.why_not)
    with cycle.app.ledger.changing() as session:
        queries.releases.mark_narrowed(session, found.candidate)
    return narrowed.heads or bool(narrowed.facts)


def _switch_heads_off(cycle: Cycle, found: Edited) -> None:
    """The head corrections make a candidate fail, not its facts: `factd heads on` tries them again."""
    from factd.editor.heads.corrections import switch, switched_on

    app, base = cycle.app, cycle.app.workbench.model().fingerprint
    why = "; ".join(found.decision.reasons[:2])
    for held in switched_on(app.workbench.workspace, base):
        switch(app.workbench.workspace, base, held.language, "off")
        what = f"heads off {held.language}, for candidate {found.candidate}"
        with app.ledger.changing() as session:
            queries.releases.log_action(
                session, who="factd", what=what, why=why, now=app.ledger.now()
            )
        log.error("head corrections switched off", language=held.language, why=why)


def _attempt(cycle: Cycle) -> tuple[Edited, Case, Examined]:
    """One candidate, solved, measured and judged. Raises: Refused: rejected before; EditorError."""
    app, cycle.ids = cycle.app, {}
    live = candidates.live_of(app.ledger)
    case = candidates.case_of(
        app.ledger, app.paths, app.workbench, app.prompts, cycle.planned.facts, live
    )
    _refuse_rejected(cycle, case)
    with app.ledger.changing() as session:
        candidate = queries.releases.create_candidate(
            session, batch_id=case.batch.id, fact_ids=case.ids, now=app.ledger.now()
        )
    cycle.ids = {"candidate": candidate.id, "batch": case.batch.id[:BATCH_DIGITS]}
    log.info("candidate planned", facts=len(case.ids), edits=len(case.batch), **cycle.ids)
    try:
        with bound(**cycle.ids):
            return _solved(cycle, candidate, case)
    except Overtaken:
        raise  # whoever took over has abandoned it
    except BaseException:
        with app.ledger.changing() as session:
            queries.releases.abandon_unfinished(session, now=app.ledger.now())
        raise


def _refuse_rejected(cycle: Cycle, case: Case) -> None:
    with cycle.app.ledger.read() as session:
        before = queries.releases.list_candidates(session)
        said = queries.approvals.approval(session, case.batch.id)
    if said is not None and said.consent is Consent.REFUSED:
        raise Refused(
            f"{said.who} refused this batch ({said.why or 'no reason given'}); `factd facts withdraw ID` takes "
            "out what is wrong in it"
        )
    rejected = [
        c.id
        for c in before
        if c.batch_id == case.batch.id
        and c.status is CandidateStatus.REJECTED
        and c.narrowed
        and c.id not in cycle.rejected
    ]
    if rejected and not cycle.again:
        raise Refused(
            f"candidate {rejected[0]} with the same facts was rejected; change facts or gates, or use --again"
        )


def _solved(cycle: Cycle, candidate: Candidate, case: Case) -> tuple[Edited, Case, Examined]:
    from factd.editor.deltas.delta import save_delta
    from factd.editor.exams.exam import Memory

    app = cycle.app
    _move(app.ledger, candidate.id, CandidateStatus.PLANNED, CandidateStatus.SOLVING)
    started = time.monotonic()
    app.workbench.model()
    loaded = time.monotonic()
    delta = candidates.solved(app.workbench, case.batch, cycle.progress)
    folder = app.paths.candidate(candidate.id)
    save_delta(delta, folder / "delta")
    solved = time.monotonic()
    _move(
        app.ledger,
        candidate.id,
        CandidateStatus.SOLVING,
        CandidateStatus.CHECKING,
        delta_id=delta.id,
    )
    memory = Memory.of(folder / "answers.json")
    found = candidates.examined(
        app.paths, app.workbench, app.prompts, app.gates, case, delta, memory=memory
    )
    aside = [one.as_json() for one in cycle.aside]
    found = replace(found, report={**found.report, "set_aside": aside})
    candidates.write_report(app.paths, candidate.id, found.report)
    if found.decision.accepted:
        truncation.prepare(app, case, candidate.id, delta)
        proof.record(
            app.ledger, app.paths, app.workbench, app.prompts, app.fleet, case, delta, folder
        )
    checked = time.monotonic()
    release = _decided(cycle, candidate, found)
    title = f"candidate {candidate.id}: {len(case.ids)} facts"
    report_page.write_page(
        app.ledger, app.paths, app.workbench, app.prompts, candidate.id, found.report, title
    )
    seconds = {"load": loaded - started, "edit": solved - loaded, "checks": checked - solved}
    edited = Edited(
        candidate=candidate.id,
        batch_id=case.batch.id,
        facts=len(case.ids),
        edits=len(case.batch),
        decision=found.decision,
        release=release,
        seconds={k: round(v, 3) for k, v in seconds.items()},
        report=found.report,
        set_aside=tuple(cycle.aside),
        solves=_used(cycle),
        earlier=tuple(cycle.rejected),
    )
    return edited, case, found


def _move(
    ledger: Ledger, id_: int, before: CandidateStatus, after: CandidateStatus, **values: Any
) -> None:
    with ledger.changing() as session:
        queries.releases.move_candidate(session, id_, before, after, now=ledger.now(), **values)
    log.info("candidate moved", candidate=id_, status=after.value)


def _decided(cycle: Cycle, candidate: Candidate, found: Examined) -> int | None:
    """The verdict and, where it is good, the release, in one transaction; the release's number."""
    app, decision = cycle.app, found.decision
    after = CandidateStatus.ACCEPTED if decision.accepted else CandidateStatus.REJECTED
    values = {"report": dict(found.report), "reasons": list(decision.reasons)}
    with app.ledger.changing() as session:
        now, before = app.ledger.now(), CandidateStatus.CHECKING
        queries.releases.move_candidate(session, candidate.id, before, after, now=now, **values)
        made = None
        if decision.accepted:
            made = queries.releases.create_release(
                session,
                candidate_id=candidate.id,
                delta_id=found.delta.id,
                fact_ids=candidate.fact_ids,
                who=cycle.who,
                why=cycle.why,
                now=now,
                base=app.workbench.base_number,
            )
            queries.releases.withdraw_older_accepted(session, made.number, now=now)
    reasons = list(decision.reasons)
    log.info("candidate judged", candidate=candidate.id, status=after.value, reasons=reasons)
    return made.number if made else None
