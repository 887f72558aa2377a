"""Second moments of the configured model: built if they are missing, else verified."""

from factd.daemon.app import App
from factd.daemon.tasks.outcome import ReportStep, TaskOutcome
from factd.store.model.operations import Task


def run(app: App, task: Task, report_step: ReportStep) -> TaskOutcome:
    """Build or verify the second moments that the configured method needs."""
    from factd.editor.methods._write import second_moments  # needs torch

    workbench = app.workbench
    if workbench.lacks_settings() and workbench.pinned_settings() is None:
        return TaskOutcome(detail="waits: the first edit finds the layers")
    settings = workbench.method_settings()
    if not hasattr(settings, "second_moment_tokens"):
        return TaskOutcome(detail="the configured method uses no second moments")

    def progress(stage: str, done: int, total: int) -> None:
        report_step(f"{stage} {done}/{total}", ())

    built = second_moments(workbench.model(), settings, workbench.workspace, progress)
    detail = f"layers {sorted(built.layers)}: {built.tokens} tokens, {built.source}"
    return TaskOutcome(detail=detail)
