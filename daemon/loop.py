"""The daemon: APScheduler as a clock only, runs in our own table, the edit in a process of its own.

A crash of the edit (CUDA, memory) ends that process, not the daemon. SIGTERM ends the child at once (its candidate is
abandoned at the next start, its values are kept), stops the clock and exits 0; a second one exits at once.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger

from daemon import planning, publishing
from daemon.bootstrap import Factd
from daemon.errors import Busy
from daemon.hooks import hooks
from daemon.http import Health
from daemon.log import log
from daemon.metrics import Metrics
from daemon.pulling import pull_all
from daemon.web.app import console
from store import migrate, release_queries
from store.errors import StoreError
from store.releases import RunStatus

STALE_SECONDS = 120  # /livez fails when the loop did not turn for so long
TURN_SECONDS = 1.0
JOB_OF = {"edit": "cycle", "audit": "audit"}  # the job that runs a command


class Daemon:
    """One process that does the cycle on a clock until it is told to stop."""

    def __init__(self, factd: Factd, config_path: Path) -> None:
        self.factd, self.config_path = factd, config_path
        self.metrics = Metrics(factd.store, tuple(factd.sources))
        self.stopping = threading.Event()
        self.beat = time.monotonic()
        self.child: subprocess.Popen[str] | None = None
        self.one_model = threading.Lock()  # an edit and an audit do not share the machine
        http = factd.config.http
        self.health = Health(
            http.host,
            http.port,
            self.metrics.registry,
            live=self.not_live,
            ready=self.not_ready,
            hooks=hooks(factd),
            console=console(factd) if factd.config.console.enabled else None,
        )
        self.clock = BackgroundScheduler(timezone=UTC)

    def not_live(self) -> str | None:
        """Why the loop is not turning."""
        silent = time.monotonic() - self.beat
        return f"the loop has been silent for {silent:.0f} s" if silent > STALE_SECONDS else None

    def not_ready(self) -> str | None:
        """Why work cannot be done: the database is not reachable or not migrated."""
        try:
            migrate.check(self.factd.config.database)
        except Exception as error:  # whatever the driver raises is the answer
            return str(error)
        return None

    def run(self, *, ticks: int | None = None) -> None:
        """Until SIGTERM or SIGINT, or (ticks) for so many turns of the loop."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        with self.factd.lock():
            publishing.recover(self.factd)
        schedule = self.factd.config.schedule
        self._every("pull", schedule.pull_seconds, self.pull)
        self._every("cycle", schedule.cycle_seconds, self.cycle)
        if schedule.audit_seconds:
            self._every("audit", schedule.audit_seconds, self.audit)
        self.clock.add_listener(self._missed, EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        self.health.start()
        self.clock.start()
        log.info("daemon started", port=self.health.port, pid=os.getpid())
        try:
            while not self.stopping.wait(TURN_SECONDS) and ticks != 0:
                self.beat = time.monotonic()
                ticks = ticks - 1 if ticks is not None else None
        finally:
            self.stop()

    def stop(self) -> None:
        """End the child, the clock and the server, in this order."""
        self.stopping.set()
        child = self.child
        if child is not None and child.poll() is None:
            child.terminate()
        self.clock.shutdown(wait=True)
        self.health.stop()
        self.factd.store.close()
        log.info("daemon stopped")

    def on_signal(self, number: int, _: FrameType | None) -> None:
        """The first one asks to stop, the second one does not ask."""
        if self.stopping.is_set():
            os._exit(1)
        self.stopping.set()

    def _every(self, job: str, seconds: int, work: Callable[[], str]) -> None:
        first = datetime.now(UTC)
        self.clock.add_job(
            self.tick,
            IntervalTrigger(seconds=seconds, timezone=UTC),
            args=(job, seconds, work),
            id=job,
            next_run_time=first,
            misfire_grace_time=None,
            coalesce=True,
        )

    def _missed(self, event: JobEvent) -> None:
        self.metrics.missed.labels(event.job_id).inc()

    def tick(self, job: str, seconds: int, work: Callable[[], str]) -> None:
        """One run of a job, recorded; the only place where any error is caught."""
        now = self.factd.now()
        due = datetime.fromtimestamp(now.timestamp() // seconds * seconds, UTC)
        started = time.monotonic()
        try:
            with self.factd.store.begin() as session:
                run = release_queries.start_run(session, job, due, now=now)
            if run is None:
                return
            status, detail = self._outcome(job, work)
            with self.factd.store.begin() as session:
                release_queries.finish_run(session, run.id, status, detail, now=self.factd.now())
        except StoreError as error:
            status, detail = RunStatus.FAILED, str(error)
        self.metrics.seconds.labels(job).observe(time.monotonic() - started)
        self.metrics.runs.labels(job, status.value).inc()
        log.info("run ended", job=job, status=status.value, detail=detail)

    def _outcome(self, job: str, work: Callable[[], str]) -> tuple[RunStatus, str]:
        try:
            return RunStatus.DONE, work()
        except Exception as error:  # the loop's one net: a failed run is a row, not a dead daemon
            log.error("run failed", job=job, error=str(error))
            return RunStatus.FAILED, str(error)

    def pull(self) -> str:
        """Poll the sources."""
        found = pull_all(self.factd)
        for outcome, count in (
            ("new", sum(p.new for p in found)),
            ("bad", sum(p.bad for p in found)),
            ("unchanged", sum(p.lines - p.new - p.bad for p in found)),
        ):
            self.metrics.lines.labels(outcome).inc(max(0, count))
        files, new, bad = (sum(getattr(p, k) for p in found) for k in ("files", "new", "bad"))
        failed = [f"{p.source}: {p.why}" for p in found if p.why]
        return "; ".join([f"{files} files, {new} new, {bad} bad lines", *failed])

    def cycle(self) -> str:
        """Edit, check and publish in a process of its own, where there is something to do."""
        planned = planning.plan(self.factd)
        if not planned.changed:
            return "nothing to do"
        if planned.closed:
            return f"waits: {planned.closed}"
        timeout = self.factd.config.schedule.cycle_timeout_seconds
        return self._process("edit", "--publish", timeout=timeout)

    def audit(self) -> str:
        """Ask the live release again in a process of its own, where one was edited."""
        with self.factd.store.read() as session:
            live = release_queries.live_release(session)
        if live is None or not live.fact_ids:
            return "nothing to do"
        return self._process("audit", timeout=self.factd.config.schedule.audit_timeout_seconds)

    def _process(self, *words: str, timeout: float) -> str:
        """One command that loads a model; its last line. Only one at a time. Raises: Busy: it failed, or took too long."""
        with self.one_model:
            command = [sys.executable, "-m", "daemon.cli", "--config", str(self.config_path)]
            self.child = subprocess.Popen(
                [*command, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            try:
                out, err = self.child.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.communicate()
                raise Busy(
                    f"`factd {words[0]}` took longer than {timeout} s and was ended; "
                    f"see [schedule] {JOB_OF[words[0]]}_timeout_seconds"
                ) from None
            if self.child.returncode:
                last = err.strip().splitlines()[-1:] or ["no word"]
                raise Busy(f"`factd {words[0]}` ended with {self.child.returncode}: {last[0]}")
            return out.strip().splitlines()[-1] if out.strip() else "done"
