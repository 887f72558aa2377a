"""The edit as a task: publish what was accepted before, or else plan, edit and publish."""

from collections.abc import Sequence
from dataclasses import replace

from factd.daemon.app import App, writing
from factd.daemon.approvals.doubts import why_waits
from factd.daemon.config.run_tables import ApprovalsTable
from factd.daemon.editing import edit, head_corrections
from factd.daemon.editing.attempt import EditResult
from factd.daemon.editing.candidates import Progress, quiet
from factd.daemon.errors import Busy, Refused
from factd.daemon.ledger import Ledger
from factd.daemon.planning.plan import Planned, has_work, let_time_pass, plan
from factd.daemon.publishing import publish
from factd.daemon.tasks.outcome import ReportStep, TaskOutcome
from factd.daemon.tracing import span
from factd.store import queries
from factd.store.errors import Overtaken
from factd.store.model.operations import Task
from factd.store.model.releases import Release, ReleaseStatus

WHO = "factd"


def run(app: App, task: Task, report_step: ReportStep) -> TaskOutcome:
    """Publish what waits to be published, or else plan, edit and publish."""
    try:
        with writing(_with_batch_size(app, task.size)) as own:
            return _edited(own, task, report_step)
    except (Busy, Overtaken) as error:
        return TaskOutcome(detail=f"waits: {error}")


def planned_now(app: App) -> Planned:
    """The plan at this moment, after the statuses that change with time alone were updated."""
    let_time_pass(app.ledger)
    return plan(app.ledger, app.prompts, app.planning)


@span("edit")
def plan_and_edit(
    app: App, *, who: str, why: str, again: bool = False, progress: Progress = quiet
) -> EditResult:
    """An edit that an operator asked for. Raises: Refused, as `editing.edit.edit` does."""
    app.ledger.refuse_if_frozen()
    planned = planned_now(app)
    return edit.edit(app.edit_parts, planned, who=who, why=why, again=again, progress=progress)


def _edited(own: App, task: Task, report_step: ReportStep) -> TaskOutcome:
    report_step("plan", ())
    planned = planned_now(own)
    if planned.closed:
        return TaskOutcome(detail=f"waits: {planned.closed}")
    ready = accepted_before(own.ledger, planned)
    if ready is not None:
        return _published(own, ready, report_step)
    if not planned.changed and not head_corrections.differ_from_live(
        own.ledger, own.paths, own.workbench
    ):
        return TaskOutcome(detail="nothing to do")
    report_step("edit", planned.added)
    why = str(task.arguments.get("why", "the daemon's cycle"))
    progress = _progress(own.ledger, report_step, planned.added)
    try:
        with span("edit"):
            edited = edit.edit(own.edit_parts, planned, who=WHO, why=why, progress=progress)
    except Refused as error:
        return TaskOutcome(detail=f"waits: {error}")
    result = {"candidate": edited.candidate, "new": len(planned.added), "size": task.size}
    if edited.release is None:
        reasons = "; ".join(edited.decision.reasons)
        detail = f"candidate {edited.candidate} was rejected: {reasons}"
        return TaskOutcome(detail=detail, result=result, failed=True)
    with own.ledger.read() as session:
        release = queries.releases.release(session, edited.release)
    done = _published(own, release, report_step)
    return replace(done, result={**result, **done.result})


def _progress(ledger: Ledger, report_step: ReportStep, facts: Sequence[str]) -> Progress:
    """ReportStep how far the edit is. It stops there if another process has taken over."""

    def progress(stage: str, done: int, total: int) -> None:
        if ledger.writer is not None:
            ledger.writer.check()
        report_step(f"{stage} {done}/{total}", facts)

    return progress


def _with_batch_size(app: App, size: int | None) -> App:
    """The application with smaller batches, after larger ones have killed a worker."""
    if size is None:
        return app
    most = min(size, app.config.planning.max_facts)
    table = app.config.planning.model_copy(update={"max_facts": most})
    return replace(app, config=app.config.model_copy(update={"planning": table}))


def accepted_before(ledger: Ledger, planned: Planned) -> Release | None:
    """An accepted release that holds just what is planned now and was never live.

    A crash, or the wait for an approval, lies between its acceptance and now.
    """
    wanted = {fact.id for fact in planned.facts}
    with ledger.read() as session:
        accepted = queries.releases.releases_with_status(session, ReleaseStatus.ACCEPTED)
        base = queries.bases.in_effect(session)
    fresh = [r for r in accepted if r.live_at is None and r.base == base]
    fitting = [r for r in fresh if set(r.fact_ids) == wanted]
    return fitting[0] if fitting and planned.changed else None


def waits_for_approval(ledger: Ledger, approvals: ApprovalsTable) -> str:
    """Why the release that holds all current facts is not published; empty if there is none.

    The daemon says so without a task for a worker.
    """
    with ledger.read() as session:
        accepted = queries.releases.releases_with_status(session, ReleaseStatus.ACCEPTED)
        base = queries.bases.in_effect(session)
    for release in accepted:
        if release.live_at is None and release.base == base:
            waits = why_waits(ledger, approvals, release)
            if waits and not has_work(ledger, than=release):
                return _waits(release, waits)
    return ""


def _waits(release: Release, why: str) -> str:
    return f"release {release.number} waits: {why} (`factd approve {release.number}`)"


def _published(app: App, release: Release, report_step: ReportStep) -> TaskOutcome:
    """Publish a release, unless it must wait for an approval."""
    waits = why_waits(app.ledger, app.config.approvals, release)
    number, result = release.number, {"release": release.number}
    if waits:
        return TaskOutcome(detail=_waits(release, waits), result=result)
    report_step("publish", ())
    publish.publish(app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, number)
    return TaskOutcome(detail=f"release {number} is live", result=result)
