"""Second moments of the configured model: built where they are missing, verified where they exist."""

from factd.daemon.app import App
from factd.daemon.tasks.outcome import TaskOutcome, Tell
from factd.store.model.operations import Task


def run(app: App, task: Task, tell: Tell) -> TaskOutcome:
    """Build or verify the second moments that the configured method needs."""
    from factd.editor.methods._write import second_moments

    workbench = app.workbench
    settings = workbench.method_settings()
    if not hasattr(settings, "second_moment_tokens"):
        return TaskOutcome(detail="the configured method uses no second moments")

    def progress(stage: str, done: int, total: int) -> None:
        tell(f"{stage} {done}/{total}", ())

    built = second_moments(workbench.model(), settings, workbench.workspace, progress)
    detail = f"layers {sorted(built.layers)}: {built.tokens} tokens, {built.source}"
    return TaskOutcome(detail=detail)
