"""The daemon: runs jobs on a schedule, starts workers, serves health, metrics and the console.

Of several daemons on one database, only one runs jobs: the one that holds a lease, the clock.
APScheduler says when to look, and the database says which ticks are due. Runs are rows, unique per
tick, so that no tick runs twice, and a run that a dead daemon left unfinished is run again.
Whatever loads a model is a task for a worker (daemon/runtime/supervisor.py). After SIGTERM, workers
stop at a safe point, the lease is given back, and the exit code is 0. A second SIGTERM ends the
process at once.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from factd.daemon import leases
from factd.daemon.app import App
from factd.daemon.config.schedule import (
    Schedule,
    cron_trigger,
    delay_seconds,
    due_ticks,
    is_overdue,
)
from factd.daemon.ingestion.webhooks import hooks
from factd.daemon.log import bound, log
from factd.daemon.runtime import jobs, systemd
from factd.daemon.runtime.chores import Chores
from factd.daemon.runtime.clock_jumps import ClockJumps
from factd.daemon.runtime.metrics import metrics_of
from factd.daemon.runtime.supervisor import Supervisor
from factd.daemon.tracing import span
from factd.daemon.web.app import console
from factd.daemon.web.http import DaemonHttp
from factd.store import operations
from factd.store.database import migrate
from factd.store.errors import StaleState, StoreError
from factd.store.model.releases import Run, RunStatus

STALE_SECONDS = 120  # /livez fails when the loop has made no pass for so long
LOOP_SECONDS = 0.5  # between two passes of the loop


@dataclass(frozen=True, kw_only=True)
class ScheduledJob:
    """Work that is done on a schedule."""

    name: str
    schedule: Schedule
    work: Callable[[], str]  # returns how it went, in words


class Daemon:
    """One daemon process. It runs until it is asked to stop."""

    def __init__(self, app: App, config_path: Path) -> None:
        self.app, self.config_path = app, config_path
        # A wrong table in the configuration must be an error at the start.
        app.channels, app.versions.publishers, app.fleet.servers  # noqa: B018
        self.metrics = metrics_of(app)
        self.stopping = threading.Event()
        self.beat = time.monotonic()
        self.claim = leases.LeaseClaim(
            app.ledger.store, operations.leases.CLOCK, app.config.lease.seconds, app.ledger.now
        )
        self.held: leases.HeldLease | None = (
            None  # the lease of the clock, while this daemon has it
        )
        self.last_start: dict[str, float] = {}  # of each job, monotonic
        self.supervisor = Supervisor(app, config_path, self.metrics.restarts)
        http = app.config.http
        self.health = DaemonHttp(
            http.host,
            http.port,
            self.metrics.registry,
            live=self.not_live,
            ready=self.not_ready,
            hooks=hooks(app.ledger, app.sources),
            console=console(app) if app.config.console.enabled else None,
        )
        self.clock = BackgroundScheduler(timezone=UTC)
        self.chores = Chores(app, self.clock, self.stopping.is_set)
        self.jobs = self._jobs()

    def _jobs(self) -> Mapping[str, ScheduledJob]:
        app, table = self.app, self.app.config.schedule
        worker_tasks = jobs.WorkerTasks(app, self.leads)
        work: Mapping[str, tuple[Schedule, Callable[[], str]]] = {
            "pull": (table.pull.schedule, lambda: jobs.pull(app, self.metrics)),
            "cycle": (table.cycle.schedule, lambda: jobs.cycle(app, worker_tasks)),
            "audit": (table.audit.schedule, lambda: jobs.audit(app, worker_tasks)),
            "statistics": (
                table.statistics.schedule,
                lambda: worker_tasks.run_and_wait("statistics"),
            ),
            "prune": (table.prune.schedule, lambda: jobs.prune(app)),
        }
        return {name: ScheduledJob(name=name, schedule=s, work=w) for name, (s, w) in work.items()}

    def leads(self) -> bool:
        """Whether this daemon has the clock and is not about to stop."""
        held = self.held
        return held is not None and not held.lost.is_set() and not self.stopping.is_set()

    def not_live(self) -> str | None:
        """Why the loop counts as dead, or None if it is alive."""
        silent = time.monotonic() - self.beat
        return f"the loop has been silent for {silent:.0f} s" if silent > STALE_SECONDS else None

    def not_ready(self) -> str | None:
        """Why work cannot be done (the database is away or not migrated), or None if it can."""
        try:
            migrate.check(self.app.config.database)
        except Exception as error:  # any error of the database driver is the answer
            return str(error)
        return None

    def run(self, *, passes: int | None = None) -> None:
        """Run until SIGTERM or SIGINT, or for so many passes of the loop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        for job in self.jobs.values():
            if job.schedule.is_on:
                self._schedule(job)
        self.clock.add_listener(self._missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self.health.start()
        self.clock.start()
        log.info("daemon started", port=self.health.port, pid=os.getpid())
        systemd.notify_ready()
        jumps = ClockJumps(self.app.ledger.now)
        try:
            while not self.stopping.is_set() and passes != 0:
                self.run_loop_once()
                if jumps.has_jumped():
                    log.warning("the clock jumped", now=self.app.ledger.now().isoformat())
                    self._look_at_all_jobs()
                passes = passes - 1 if passes is not None else None
                self.stopping.wait(LOOP_SECONDS)
        finally:
            self.stop()

    def run_loop_once(self) -> None:
        """One pass of the loop: a sign of life, the lease, the workers, the chores."""
        self.beat = time.monotonic()
        systemd.notify_alive()
        try:
            self._renew_lease()
            self.supervisor.check(leads=self.leads())
            if self.leads():
                self.chores.start_due()
        except StoreError as error:
            log.warning("the loop turned without the database", error=str(error))

    def _renew_lease(self) -> None:
        """Give back a lease that was lost, and try to take it if no daemon has it."""
        if self.held is not None and self.held.lost.is_set():
            self.held.give_back()
            self.held = None
        if self.held is None:
            self.held = self.claim.attempt()
            if self.held is not None:
                self.last_start = dict.fromkeys(self.jobs, time.monotonic())
                self._look_at_all_jobs()
        self.metrics.leading.set(float(self.leads()))

    def stop(self) -> None:
        """End the workers, the clock and the server, and give the lease back, in this order."""
        self.stopping.set()
        systemd.notify_stopping()
        self.supervisor.stop()
        self.clock.shutdown(wait=True)
        if self.held is not None:
            self.held.give_back()
        self.claim.give_up()
        self.health.stop()
        self.app.ledger.store.close()
        log.info("daemon stopped")

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """The first signal asks the daemon to stop. The second ends the process at once."""
        if self.stopping.is_set():
            os._exit(1)
        self.stopping.set()

    def _schedule(self, job: ScheduledJob) -> None:
        self.clock.add_job(
            self.run_due,
            _trigger(job.schedule),
            args=(job,),
            id=job.name,
            next_run_time=datetime.now(UTC),
            misfire_grace_time=None,
            coalesce=True,
        )

    def _look_at_all_jobs(self) -> None:
        """Look for due ticks of every job now: this daemon got the lease, or the clock jumped."""
        for name, job in self.jobs.items():
            if job.schedule.is_on and self.clock.get_job(name) is not None:
                self.clock.reschedule_job(name, trigger=_trigger(job.schedule))
                self.clock.modify_job(name, next_run_time=datetime.now(UTC))

    def _missed(self, event: JobEvent) -> None:
        if event.job_id in self.jobs:
            self.metrics.missed.labels(event.job_id).inc()

    def run_due(self, job: ScheduledJob) -> None:
        """Run the due ticks of a job, and those that a dead daemon left unfinished.

        Does nothing if another daemon has the clock.
        """
        held = self.held
        if held is None or not self.leads():
            return
        try:
            for moment in self.due_ticks(job, held.epoch):
                self.stopping.wait(delay_seconds(job.name, moment, job.schedule.jitter_seconds))
                if not self.leads():
                    return
                self.tick(job, moment, epoch=held.epoch)
        except StoreError as error:
            log.warning("a job was not looked at", job=job.name, error=str(error))

    def due_ticks(self, job: ScheduledJob, epoch: int) -> list[datetime]:
        """The ticks of a job that must run now: those that an earlier epoch left, then due ones."""
        now = self.app.ledger.now()
        with self.app.ledger.read() as session:
            left = [
                r.scheduled_for
                for r in operations.runs.left_running(session, epoch)
                if r.job == job.name
            ]
            last = operations.runs.last_tick(session, job.name, now)
        ticks = due_ticks(job.schedule, last, now)
        idle = time.monotonic() - self.last_start.get(job.name, time.monotonic())
        if not ticks and is_overdue(job.schedule, now, idle):
            ticks = [now]
        return [*left, *(moment for moment in ticks if moment not in left)]

    def tick(self, job: ScheduledJob, moment: datetime, *, epoch: int) -> None:
        """Run a job for one tick and record the run. A tick that has its run already is skipped."""
        started = self.last_start[job.name] = time.monotonic()
        with self.app.ledger.begin() as session:
            if self.held is not None:
                self.held.confirm(session)
            now = self.app.ledger.now()
            run = operations.runs.start_run(session, job.name, moment, now=now, epoch=epoch)
        if run is None:
            return
        with bound(run=run.id, job=job.name), span("run", job=job.name, run=run.id):
            status, detail = self._outcome(job)
        if status is None:
            return  # the daemon that has the clock next takes the run over
        if not self._record(run, status, detail):
            return
        self.metrics.run_ended(job.name, status, time.monotonic() - started, run.id)
        log.info("run ended", job=job.name, run=run.id, status=status.value, detail=detail)

    def _record(self, run: Run, status: RunStatus, detail: str) -> bool:
        """Record the end of a run. False if a later daemon has taken the run over."""
        try:
            with self.app.ledger.begin() as session:
                operations.runs.finish_run(session, run, status, detail, now=self.app.ledger.now())
        except StaleState as error:
            log.warning("run was taken over", job=run.job, run=run.id, error=str(error))
            return False
        return True

    def _outcome(self, job: ScheduledJob) -> tuple[RunStatus | None, str]:
        """How the work of a job ended; a status of None: it was left unfinished."""
        try:
            return RunStatus.DONE, job.work()
        except jobs.Unfinished:
            return None, ""
        except Exception as error:  # the only net: a failed run is a row, not a dead daemon
            log.error("run failed", job=job.name, error=str(error))
            return RunStatus.FAILED, str(error)


def _trigger(schedule: Schedule) -> BaseTrigger:
    if schedule.cron:
        return cron_trigger(schedule.cron, schedule.zone)
    start = datetime.fromtimestamp(0, UTC)
    return IntervalTrigger(seconds=schedule.every_seconds, start_date=start, timezone=UTC)
