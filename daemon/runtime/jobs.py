"""What the daemon's jobs do. Nothing here loads a model: that is asked of a worker, and waited for."""

import time
from collections.abc import Callable

from factd.daemon.app import App
from factd.daemon.approvals import doubts
from factd.daemon.backup import retention
from factd.daemon.config.load import Config
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

LOOK_SECONDS = 0.25
AWAY_SECONDS = 600.0  # for which the database may be away while a task runs


class Unfinished(Exception):
    """The daemon stops, or another one ticks now: the run is left as it is, for whoever has the clock next."""


class Waiting:
    """Asks a worker for something and waits until it is done."""

    def __init__(self, app: App, leads: Callable[[], bool]) -> None:
        self.app, self.leads = app, leads

    def done(self, kind: str) -> str:
        """What a task said in the end. Raises: Unfinished; Busy: it failed."""
        arguments = {"run": bound_ids().get("run"), "traceparent": traceparent()}
        with self.app.ledger.begin() as session:
            size = _grown(self.app, operations.tasks.last_task(session, kind))
            task = operations.tasks.add_task(
                session, kind, arguments, now=self.app.ledger.now(), size=size
            )
        until = time.monotonic() + 2 * timeout_seconds(self.app.config, kind)
        while task.status in operations.tasks.OPEN:
            if not self.leads():
                raise Unfinished
            if time.monotonic() > until:
                raise Busy(_overdue(task))
            time.sleep(LOOK_SECONDS)
            task = self._seen(task)
        if task.status is TaskStatus.FAILED:
            raise Busy(task.detail)
        return task.detail

    def _seen(self, task: Task) -> Task:
        """How it stands; a database that is away for a while is waited for."""
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
    """For one attempt at a task."""
    schedule = config.schedule
    tables = {"edit": schedule.cycle, "audit": schedule.audit, "statistics": schedule.statistics}
    return tables[kind].timeout_seconds


def _overdue(task: Task) -> str:
    if task.status is TaskStatus.WAITING:
        return f"no worker took task {task.id} ({task.kind}); set [worker] count, or start `factd worker`"
    return f"task {task.id} ({task.kind}) is still at {task.step}; the next run waits for it again"


def _grown(app: App, last: Task | None) -> int | None:
    """After a batch that had to be made small: twice as many facts next time, until it is as configured."""
    if last is None or last.size is None:
        return None
    size = 2 * last.size
    return size if size < app.config.planning.max_facts else None


def pull(app: App, metrics: Metrics) -> str:
    """Poll the sources."""
    found = pull_all(app.ledger, app.paths, app.prompts, app.sources)
    for outcome, count in (
        ("new", sum(p.new for p in found)),
        ("bad", sum(p.bad for p in found)),
        ("unchanged", sum(p.lines - p.new - p.bad for p in found)),
    ):
        metrics.lines.labels(outcome).inc(max(0, count))
    files, new, bad = (sum(getattr(p, k) for p in found) for k in ("files", "new", "bad"))
    failed = [f"{p.source}: {p.why}" for p in found if p.why]
    return "; ".join([f"{files} files, {new} new, {bad} bad lines", *failed])


def cycle(app: App, waiting: Waiting) -> str:
    """Edit, check and publish, where there is something to do."""
    planned = plan.plan(app.ledger, app.prompts, app.planning)
    if not planned.changed:
        return "nothing to do"
    if planned.closed:
        return f"waits: {planned.closed}"
    ready = edit.waits_for_approval(app.ledger, app.config.approvals, planned)
    return ready or waiting.done("edit")


def audit(app: App, waiting: Waiting) -> str:
    """Ask the live release again, where one was edited."""
    with app.ledger.read() as session:
        live = queries.releases.live_release(session)
    if live is None or not live.fact_ids:
        return "nothing to do"
    return waiting.done("audit")


def prune(app: App) -> str:
    """Delete what is not kept."""
    return retention.prune(app).sentence()


def tell(app: App, stopping: Callable[[], bool]) -> int:
    """Find what people should know, and send what is due; the number of messages that arrived."""
    with app.ledger.read() as session:
        spent = limits.used(session, app.config.limits, app.ledger.now())
    reached = limits.reached(app.config.limits, spent)
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


def serve(app: App, stopping: Callable[[], bool], *, watch: bool) -> int:
    """Hand over what is due, take back what a canary refused, and look at servers; the number of hand-overs tried.

    Raises: Busy: another process hands over, or changes releases, now.
    """
    if watch:
        server_watch.observe_all(app.ledger, app.paths, app.versions, app.fleet, stopping=stopping)
    tried = outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet, stopping=stopping)
    canary_rollback.take_back(app.ledger, app.paths, app.versions, app.fleet)
    return len(tried)
