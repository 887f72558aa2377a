"""The work of the daemon's jobs.

Nothing here loads a model. What needs one is a task: a worker does it, and the job waits for it.
"""

import time
from collections.abc import Callable

from factd.daemon.app import App
from factd.daemon.approvals import doubts
from factd.daemon.backup import retention
from factd.daemon.configuration import Config
from factd.daemon.errors import Busy
from factd.daemon.ingestion.pull import pull_all
from factd.daemon.log import bound_ids
from factd.daemon.metrics.exporter import Metrics
from factd.daemon.notifications import dispatch
from factd.daemon.planning import limits, plan
from factd.daemon.publishing import canary_rollback
from factd.daemon.rollout import outbox
from factd.daemon.rollout import watch as server_watch
from factd.daemon.tasks import edit
from factd.daemon.tracing import traceparent
from factd.store import operations, queries
from factd.store.errors import StoreError
from factd.store.model.operations import Task, TaskStatus

POLL_SECONDS = 0.25  # between looks at a task
AWAY_SECONDS = 600.0  # for which the database may be away while a task runs


class Unfinished(Exception):
    """The daemon stops, or has lost the clock. The next daemon that has it takes the run over."""


class WorkerTasks:
    """Gives tasks to workers and waits until they are done."""

    def __init__(self, app: App, leads: Callable[[], bool]) -> None:
        self.app, self.leads = app, leads

    def run_and_wait(self, kind: str) -> str:
        """How a task ended, in words.

        Raises: Unfinished: the daemon stops. Busy: the task failed, or took too long.
        """
        arguments = {"run": bound_ids().get("run"), "traceparent": traceparent()}
        with self.app.ledger.begin() as session:
            size = _next_size(self.app, operations.tasks.last_task(session, kind))
            task = operations.tasks.add_task(
                session, kind, arguments, now=self.app.ledger.now(), size=size
            )
        until = time.monotonic() + 2 * timeout_seconds(self.app.config, kind)
        while task.status in operations.tasks.OPEN:
            if not self.leads():
                raise Unfinished
            if time.monotonic() > until:
                raise Busy(_overdue(task))
            time.sleep(POLL_SECONDS)
            task = self._current(task)
        if task.status is TaskStatus.FAILED:
            raise Busy(task.detail)
        return task.detail

    def _current(self, task: Task) -> Task:
        """The task as it stands now. If the database is away for a while, this waits for it."""
        until = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                with self.app.ledger.read() as session:
                    return operations.tasks.task(session, task.id)
            except StoreError:
                if time.monotonic() > until or not self.leads():
                    raise
                time.sleep(1.0)


def timeout_seconds(config: Config, kind: str) -> float:
    """The time that one attempt at a task may take."""
    schedule = config.schedule
    tables = {"edit": schedule.cycle, "audit": schedule.audit, "statistics": schedule.statistics}
    return tables[kind].timeout_seconds


def _overdue(task: Task) -> str:
    if task.status is TaskStatus.WAITING:
        return (
            f"no worker took task {task.id} ({task.kind}); "
            "set [worker] count, or start `factd worker`"
        )
    return f"task {task.id} ({task.kind}) is still at {task.step}; the next run waits for it again"


def _next_size(app: App, last: Task | None) -> int | None:
    """The largest batch of the next task; None: as configured.

    After a batch had to be made smaller, the next one is twice as large.
    """
    if last is None or last.size is None:
        return None
    size = 2 * last.size
    return size if size < app.config.planning.max_facts else None


def pull(app: App, metrics: Metrics) -> str:
    """Poll the sources."""
    pulls = pull_all(app.ledger, app.paths, app.prompts, app.sources)
    for outcome, count in (
        ("new", sum(p.new for p in pulls)),
        ("bad", sum(p.bad for p in pulls)),
        ("unchanged", sum(p.lines - p.new - p.bad for p in pulls)),
    ):
        metrics.lines.labels(outcome).inc(max(0, count))
    files, new, bad = (sum(getattr(p, k) for p in pulls) for k in ("files", "new", "bad"))
    failed = [f"{p.source}: {p.why}" for p in pulls if p.why]
    return "; ".join([f"{files} files, {new} new, {bad} bad lines", *failed])


def cycle(app: App, worker_tasks: WorkerTasks) -> str:
    """Edit, check and publish, if there is something to do."""
    plan.let_time_pass(app.ledger)
    if not plan.has_work(app.ledger):
        return "nothing to do"
    closed = plan.closed_now(app.ledger, app.planning)
    if closed:
        return f"waits: {closed}"
    awaited = edit.waits_for_approval(app.ledger, app.config.approvals)
    return awaited or worker_tasks.run_and_wait("edit")


def audit(app: App, worker_tasks: WorkerTasks) -> str:
    """Audit the live release, unless it is the base model itself."""
    with app.ledger.read() as session:
        live = queries.releases.live_release(session)
    if live is None or not live.fact_ids:
        return "nothing to do"
    return worker_tasks.run_and_wait("audit")


def prune(app: App) -> str:
    """Delete what need not be kept any more."""
    return retention.prune(app).sentence()


def notify(app: App, stopping: Callable[[], bool]) -> int:
    """Find what people should be notified of, and send what is due.

    Returns the number of messages that arrived.
    """
    with app.ledger.read() as session:
        spent = limits.usage_today(session, app.config.limits, app.ledger.now())
    reached = limits.reached_limit(app.config.limits, spent)
    waiting = doubts.waiting(app.ledger, app.config.approvals)
    return dispatch.dispatch(
        app.ledger,
        app.planning,
        app.channels,
        app.fleet,
        app.config.notify,
        waiting=waiting,
        limit=reached,
        stopping=stopping,
    )


def hand_over(app: App, stopping: Callable[[], bool], *, watch: bool) -> int:
    """Hand releases over to servers, and take back a release that a canary refused.

    watch: also ask servers which release they serve. Returns the number of hand-overs tried.
    Raises: Busy: another process hands over, or changes releases, now.
    """
    if watch:
        server_watch.observe_all(app.ledger, app.paths, app.versions, app.fleet, stopping=stopping)
    tried = outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet, stopping=stopping)
    canary_rollback.take_back(app.ledger, app.paths, app.versions, app.fleet)
    return len(tried)
