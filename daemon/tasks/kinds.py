"""The tasks that a worker takes, by kind.

Each is safe to begin again from the start, on this machine or another.
"""

from collections.abc import Callable, Mapping

from factd.daemon.app import App
from factd.daemon.tasks import audit, edit, statistics
from factd.daemon.tasks.outcome import ReportStep, TaskOutcome
from factd.store.model.operations import Task

KINDS: Mapping[str, Callable[[App, Task, ReportStep], TaskOutcome]] = {
    "edit": edit.run,
    "audit": audit.run,
    "statistics": statistics.run,
}
