"""What a worker does: tasks by kind. Each is safe to begin again from the start, on this machine or another.

edit        publish what was accepted before; else plan, solve, check, narrow, publish
audit       ask the live release again
statistics  second moments: built where they are missing, compared with their manifest where they are there
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from factd.daemon.app import Factd
from factd.daemon.approvals import approvals
from factd.daemon.editing import edit
from factd.daemon.errors import Busy, Refused
from factd.daemon.leases import writing
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


def run_edit(factd: Factd, task: Task, tell: Tell) -> Outcome:
    """One step from what the store holds towards a live release that says it."""
    try:
        with writing(_of_size(factd, task.size)) as own:
            return _edited(own, task, tell)
    except (Busy, Overtaken) as error:
        return Outcome(detail=f"waits: {error}")


def _edited(own: Factd, task: Task, tell: Tell) -> Outcome:
    tell("plan", ())
    planned = plan.plan(own)
    if planned.closed:
        return Outcome(detail=f"waits: {planned.closed}")
    ready = accepted_before(own, planned)
    if ready is not None:
        return _published(own, ready, tell)
    if not planned.changed and not heads_changed(own):
        return Outcome(detail="nothing to do")

    def progress(stage: str, done: int, total: int) -> None:
        if own.writer is not None:
            own.writer.check()
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
    with own.store.read() as session:
        release = queries.releases.release(session, found.release)
    done = _published(own, release, tell)
    return replace(done, result={**result, **done.result})


def _of_size(factd: Factd, size: int | None) -> Factd:
    """With smaller batches, after larger ones were too much for a worker."""
    if size is None:
        return factd
    most = min(size, factd.config.planning.max_facts)
    planning_table = factd.config.planning.model_copy(update={"max_facts": most})
    return replace(factd, config=factd.config.model_copy(update={"planning": planning_table}))


def accepted_before(factd: Factd, planned: Planned) -> Release | None:
    """An accepted release that holds just what is planned now, and has not been out: a crash or an approval lies between."""
    wanted = {fact.id for fact in planned.facts}
    with factd.store.read() as session:
        found = queries.releases.releases_with_status(session, ReleaseStatus.ACCEPTED)
        base = queries.bases.in_effect(session)
    fresh = [r for r in found if r.live_at is None and r.base == base]
    fitting = [r for r in fresh if set(r.fact_ids) == wanted]
    return fitting[0] if fitting and planned.changed else None


def waits_for_approval(factd: Factd, planned: Planned) -> str:
    """Why what was accepted before is not published now; empty where nothing was, or where it may be."""
    ready = accepted_before(factd, planned)
    waits = approvals.why_waits(factd, ready) if ready else ""
    return _said_to_wait(ready, waits) if ready and waits else ""


def _said_to_wait(release: Release, why: str) -> str:
    return f"release {release.number} waits: {why} (`factd approve {release.number}`)"


def _published(factd: Factd, release: Release, tell: Tell) -> Outcome:
    waits = approvals.why_waits(factd, release)
    result = {"release": release.number}
    if waits:
        return Outcome(detail=_said_to_wait(release, waits), result=result)
    tell("publish", ())
    publish.publish(factd, release.number)
    return Outcome(detail=f"release {release.number} is live", result=result)


def run_audit(factd: Factd, task: Task, tell: Tell) -> Outcome:
    """The live release, asked again."""
    with writing(factd) as own:
        tell("audit", ())
        try:
            found = audited(own)
        except Refused as error:
            return Outcome(detail=str(error))
    said = f"release {found.release}: {found.outcome.value}; {found.action or 'nothing to do'}"
    return Outcome(detail=said, failed=found.outcome.value == "failed")


def run_statistics(factd: Factd, task: Task, tell: Tell) -> Outcome:
    """Second moments of the configured model, whole and on disk."""
    from factd.editor.methods._write import second_moments

    settings = factd.method_settings()
    if not hasattr(settings, "second_moment_tokens"):
        return Outcome(detail="the configured method uses no second moments")

    def progress(stage: str, done: int, total: int) -> None:
        tell(f"{stage} {done}/{total}", ())

    found = second_moments(factd.workbench.model(), settings, factd.workspace, progress)
    return Outcome(detail=f"layers {sorted(found.layers)}: {found.tokens} tokens, {found.source}")


KINDS: Mapping[str, Callable[[Factd, Task, Tell], Outcome]] = {
    "edit": run_edit,
    "audit": run_audit,
    "statistics": run_statistics,
}
