"""The daemon: one of several may tick (a lease), APScheduler says when to look, the database says which ticks are due.

Runs are rows, unique per tick, so that none runs twice and one that a dead daemon left is run again. Whatever loads a model
is a task for a worker (daemon/runtime/supervisor.py). SIGTERM: workers stop at a safe point, the lease is given back, exit 0; a second
one exits at once.
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
from factd.daemon.config.schedule import Schedule, cron_trigger, delay_seconds, due, is_overdue
from factd.daemon.ingestion.webhooks import hooks
from factd.daemon.log import bound, log
from factd.daemon.runtime import jobs, systemd
from factd.daemon.runtime.chores import Chores
from factd.daemon.runtime.metrics import metrics_of
from factd.daemon.runtime.supervisor import Supervisor
from factd.daemon.tracing import span
from factd.daemon.web.app import console
from factd.daemon.web.http import DaemonHttp
from factd.store import operations
from factd.store.database import migrate
from factd.store.errors import StaleState, StoreError
from factd.store.model.releases import Run, RunStatus

STALE_SECONDS = 120  # /livez fails when the loop did not turn for so long
TURN_SECONDS = 0.5
JUMP_SECONDS = 5  # by which the wall clock may run apart from the monotonic one within a turn


@dataclass(frozen=True, kw_only=True)
class Job:
    """Something that is done on a schedule."""

    name: str
    schedule: Schedule
    work: Callable[[], str]


class Jumps:
    """Notices when somebody sets the wall clock: it then runs apart from the monotonic one."""

    def __init__(
        self, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.now, self.monotonic = now, monotonic
        self.apart = self._apart()

    def _apart(self) -> float:
        return self.now().timestamp() - self.monotonic()

    def noticed(self) -> bool:
        """Whether it was set since the last look."""
        before, self.apart = self.apart, self._apart()
        return abs(self.apart - before) > JUMP_SECONDS


class Daemon:
    """One process that does the cycle on a clock until it is told to stop."""

    def __init__(self, app: App, config_path: Path) -> None:
        self.app, self.config_path = app, config_path
        app.channels, app.versions.publishers, app.fleet.servers  # noqa: B018 - a wrong table is said at the start
        self.metrics = metrics_of(app)
        self.stopping = threading.Event()
        self.beat = time.monotonic()
        self.claim = leases.LeaseClaim(
            app.ledger.store, operations.leases.CLOCK, app.config.lease.seconds, app.ledger.now
        )
        self.held: leases.HeldLease | None = None  # the clock
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

    def _jobs(self) -> Mapping[str, Job]:
        app, table = self.app, self.app.config.schedule
        wait = jobs.Waiting(app, self.leads)
        work: Mapping[str, tuple[Schedule, Callable[[], str]]] = {
            "pull": (table.pull.schedule, lambda: jobs.pull(app, self.metrics)),
            "cycle": (table.cycle.schedule, lambda: jobs.cycle(app, wait)),
            "audit": (table.audit.schedule, lambda: jobs.audit(app, wait)),
            "statistics": (table.statistics.schedule, lambda: wait.done("statistics")),
            "prune": (table.prune.schedule, lambda: jobs.prune(app)),
        }
        return {name: Job(name=name, schedule=s, work=w) for name, (s, w) in work.items()}

    def leads(self) -> bool:
        """This daemon has the clock, and is not about to stop."""
        held = self.held
        return held is not None and not held.lost.is_set() and not self.stopping.is_set()

    def not_live(self) -> str | None:
        """Why the loop is not turning."""
        silent = time.monotonic() - self.beat
        return f"the loop has been silent for {silent:.0f} s" if silent > STALE_SECONDS else None

    def not_ready(self) -> str | None:
        """Why work cannot be done: the database is not reachable or not migrated."""
        try:
            migrate.check(self.app.config.database)
        except Exception as error:  # whatever the driver raises is the answer
            return str(error)
        return None

    def run(self, *, turns: int | None = None) -> None:
        """Until SIGTERM or SIGINT, or for so many turns of the loop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        for job in self.jobs.values():
            if job.schedule.is_on:
                self._arm(job)
        self.clock.add_listener(self._missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self.health.start()
        self.clock.start()
        log.info("daemon started", port=self.health.port, pid=os.getpid())
        systemd.ready()
        jumps = Jumps(self.app.ledger.now)
        try:
            while not self.stopping.is_set() and turns != 0:
                self.turn()
                if jumps.noticed():
                    log.warning("the clock jumped", now=self.app.ledger.now().isoformat())
                    self._look_now()
                turns = turns - 1 if turns is not None else None
                self.stopping.wait(TURN_SECONDS)
        finally:
            self.stop()

    def turn(self) -> None:
        """One turn of the loop: sign of life, the lease, the workers."""
        self.beat = time.monotonic()
        systemd.alive()
        try:
            self._see_to_lease()
            self.supervisor.turn(leads=self.leads())
            if self.leads():
                self.chores.turn()
        except StoreError as error:
            log.warning("the loop turned without the database", error=str(error))

    def _see_to_lease(self) -> None:
        if self.held is not None and self.held.lost.is_set():
            self.held.give_back()
            self.held = None
        if self.held is None:
            self.held = self.claim.attempt()
            if self.held is not None:
                self.last_start = dict.fromkeys(self.jobs, time.monotonic())
                self._look_now()
        self.metrics.leading.set(float(self.leads()))

    def stop(self) -> None:
        """End the workers, the clock and the server, and give the lease back, in this order."""
        self.stopping.set()
        systemd.stopping()
        self.supervisor.stop()
        self.clock.shutdown(wait=True)
        if self.held is not None:
            self.held.give_back()
        self.claim.give_up()
        self.health.stop()
        self.app.ledger.store.close()
        log.info("daemon stopped")

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """The first one asks to stop, the second one does not ask."""
        if self.stopping.is_set():
            os._exit(1)
        self.stopping.set()

    def _arm(self, job: Job) -> None:
        self.clock.add_job(
            self.look,
            _trigger(job.schedule),
            args=(job,),
            id=job.name,
            next_run_time=datetime.now(UTC),
            misfire_grace_time=None,
            coalesce=True,
        )

    def _look_now(self) -> None:
        """After a change of hands or of the clock: what is due, whatever APScheduler had planned."""
        for name, job in self.jobs.items():
            if job.schedule.is_on and self.clock.get_job(name) is not None:
                self.clock.reschedule_job(name, trigger=_trigger(job.schedule))
                self.clock.modify_job(name, next_run_time=datetime.now(UTC))

    def _missed(self, event: JobEvent) -> None:
        if event.job_id in self.jobs:
            self.metrics.missed.labels(event.job_id).inc()

    def look(self, job: Job) -> None:
        """Run what is due of a job, and what a daemon that died left of it; nothing where another daemon has the clock."""
        held = self.held
        if held is None or not self.leads():
            return
        try:
            for moment in self._due(job, held.epoch):
                self.stopping.wait(delay_seconds(job.name, moment, job.schedule.jitter_seconds))
                if not self.leads():
                    return
                self.tick(job, moment, epoch=held.epoch)
        except StoreError as error:
            log.warning("a job was not looked at", job=job.name, error=str(error))

    def _due(self, job: Job, epoch: int) -> list[datetime]:
        now = self.app.ledger.now()
        with self.app.ledger.read() as session:
            left = [
                r.scheduled_for
                for r in operations.runs.left_running(session, epoch)
                if r.job == job.name
            ]
            last = operations.runs.last_tick(session, job.name, now)
        found = due(job.schedule, last, now)
        idle = time.monotonic() - self.last_start.get(job.name, time.monotonic())
        if not found and is_overdue(job.schedule, now, idle):
            found = [now]
        return [*left, *(moment for moment in found if moment not in left)]

    def tick(self, job: Job, moment: datetime, *, epoch: int) -> None:
        """One run of a job, recorded; the only place where any error is caught."""
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
            return  # the daemon stops or has lost the clock: the run is for whoever has it next
        if not self._ended(run, status, detail):
            return
        self.metrics.run_ended(job.name, status, time.monotonic() - started, run.id)
        log.info("run ended", job=job.name, run=run.id, status=status.value, detail=detail)

    def _ended(self, run: Run, status: RunStatus, detail: str) -> bool:
        """Record it; False where a later daemon has taken the run over, and what this one did does not count."""
        try:
            with self.app.ledger.begin() as session:
                operations.runs.finish_run(session, run, status, detail, now=self.app.ledger.now())
        except StaleState as error:
            log.warning("run was taken over", job=run.job, run=run.id, error=str(error))
            return False
        return True

    def _outcome(self, job: Job) -> tuple[RunStatus | None, str]:
        try:
            return RunStatus.DONE, job.work()
        except jobs.Unfinished:
            return None, ""
        except Exception as error:  # the loop's one net: a failed run is a row, not a dead daemon
            log.error("run failed", job=job.name, error=str(error))
            return RunStatus.FAILED, str(error)


def _trigger(schedule: Schedule) -> BaseTrigger:
    if schedule.cron:
        return cron_trigger(schedule.cron, schedule.zone)
    start = datetime.fromtimestamp(0, UTC)
    return IntervalTrigger(seconds=schedule.every_seconds, start_date=start, timezone=UTC)
