"""What a worker does: tasks by kind. Each is safe to begin again from the start, on this machine or another.

edit        publish what was accepted before; else plan, solve, check, narrow, publish
audit       ask the live release again
statistics  second moments: built where they are missing, compared with their manifest where they are there
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from factd.daemon.app import App, writing
from factd.daemon.approvals.doubts import why_waits
from factd.daemon.config.run_tables import ApprovalsTable
from factd.daemon.editing import edit
from factd.daemon.errors import Busy, Refused
from factd.daemon.ledger import Ledger
from factd.daemon.planning import plan
from factd.daemon.planning.plan import Planned
from factd.daemon.planning.recheck import heads_changed
from factd.daemon.publishing import publish
from factd.daemon.tasks.audit import audit as audited
from factd.store import queries
from factd.store.errors import Overtaken
from factd.store.model.operations import Task
from factd.store.model.releases import Release, ReleaseStatus

WHO = "factd"
Tell = Callable[[str, Sequence[str]], None]  # the step, and the facts in hand


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a task ended, in words, and for programs."""

    detail: str
    result: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False


def run_edit(app: App, task: Task, tell: Tell) -> Outcome:
    """One step from what the store holds towards a live release that says it."""
    try:
        with writing(_of_size(app, task.size)) as own:
            return _edited(own, task, tell)
    except (Busy, Overtaken) as error:
        return Outcome(detail=f"waits: {error}")


def _edited(own: App, task: Task, tell: Tell) -> Outcome:
    tell("plan", ())
    planned = plan.plan(own.ledger, own.prompts, own.planning)
    if planned.closed:
        return Outcome(detail=f"waits: {planned.closed}")
    ready = accepted_before(own.ledger, planned)
    if ready is not None:
        return _published(own, ready, tell)
    if not planned.changed and not heads_changed(own.ledger, own.paths, own.workbench):
        return Outcome(detail="nothing to do")

    def progress(stage: str, done: int, total: int) -> None:
        if own.ledger.writer is not None:
            own.ledger.writer.check()
        tell(f"{stage} {done}/{total}", planned.added)

    tell("edit", planned.added)
    try:
        why = str(task.arguments.get("why", "the daemon's cycle"))
        found = edit.edit(own, who=WHO, why=why, progress=progress)
    except Refused as error:
        return Outcome(detail=f"waits: {error}")
    result = {"candidate": found.candidate, "new": len(planned.added), "size": task.size}
    if found.release is None:
        reasons = "; ".join(found.decision.reasons)
        said = f"candidate {found.candidate} was rejected: {reasons}"
        return Outcome(detail=said, result=result, failed=True)
    with own.ledger.read() as session:
        release = queries.releases.release(session, found.release)
    done = _published(own, release, tell)
    return replace(done, result={**result, **done.result})


def _of_size(app: App, size: int | None) -> App:
    """With smaller batches, after larger ones were too much for a worker."""
    if size is None:
        return app
    most = min(size, app.config.planning.max_facts)
    planning_table = app.config.planning.model_copy(update={"max_facts": most})
    return replace(app, config=app.config.model_copy(update={"planning": planning_table}))


def accepted_before(ledger: Ledger, planned: Planned) -> Release | None:
    """An accepted release that holds just what is planned now, and has not been out: a crash or an approval lies between."""
    wanted = {fact.id for fact in planned.facts}
    with ledger.read() as session:
        found = queries.releases.releases_in(session, ReleaseStatus.ACCEPTED)
        base = queries.bases.in_effect(session)
    fresh = [r for r in found if r.live_at is None and r.base == base]
    fitting = [r for r in fresh if set(r.fact_ids) == wanted]
    return fitting[0] if fitting and planned.changed else None


def waits_for_approval(ledger: Ledger, approvals: ApprovalsTable, planned: Planned) -> str:
    """Why what was accepted before is not published now; empty where nothing was, or where it may be."""
    ready = accepted_before(ledger, planned)
    waits = why_waits(ledger, approvals, ready) if ready else ""
    return _said_to_wait(ready, waits) if ready and waits else ""


def _said_to_wait(release: Release, why: str) -> str:
    return f"release {release.number} waits: {why} (`factd approve {release.number}`)"


def _published(app: App, release: Release, tell: Tell) -> Outcome:
    waits = why_waits(app.ledger, app.config.approvals, release)
    result = {"release": release.number}
    if waits:
        return Outcome(detail=_said_to_wait(release, waits), result=result)
    tell("publish", ())
    publish.publish(
        app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, release.number
    )
    return Outcome(detail=f"release {release.number} is live", result=result)


def run_audit(app: App, task: Task, tell: Tell) -> Outcome:
    """The live release, asked again."""
    with writing(app) as own:
        tell("audit", ())
        try:
            found = audited(own)
        except Refused as error:
            return Outcome(detail=str(error))
    said = f"release {found.release}: {found.outcome.value}; {found.action or 'nothing to do'}"
    return Outcome(detail=said, failed=found.outcome.value == "failed")


def run_statistics(app: App, task: Task, tell: Tell) -> Outcome:
    """Second moments of the configured model, whole and on disk."""
    from factd.editor.methods._write import second_moments

    workbench = app.workbench
    settings = workbench.method_settings()
    if not hasattr(settings, "second_moment_tokens"):
        return Outcome(detail="the configured method uses no second moments")

    def progress(stage: str, done: int, total: int) -> None:
        tell(f"{stage} {done}/{total}", ())

    found = second_moments(workbench.model(), settings, workbench.workspace, progress)
    return Outcome(detail=f"layers {sorted(found.layers)}: {found.tokens} tokens, {found.source}")


KINDS: Mapping[str, Callable[[App, Task, Tell], Outcome]] = {
    "edit": run_edit,
    "audit": run_audit,
    "statistics": run_statistics,
}
