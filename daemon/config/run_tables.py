"""The tables of the configuration file that say how factd runs.

They are about schedules, approvals, limits, workers, retention and leases.
"""

from typing import Literal
from zoneinfo import available_timezones

from pydantic import Field, model_validator

from factd.daemon.config.schedule import Schedule, cron_trigger
from factd.daemon.config.tables import Table
from factd.daemon.config.windows import Window


class JobTable(Table):
    """[schedule.JOB] when a job runs: at a fixed interval, or by a cron line"""

    every_seconds: int = Field(default=0, ge=0)
    """Time between two runs; 0: not at a fixed interval."""
    cron: str = ""
    """A cron line, like "30 2 * * mon-fri"; name days of the week."""
    zone: str = "UTC"
    """Time zone of the cron line."""
    jitter_seconds: int = Field(default=0, ge=0)
    """A run starts up to this much later; the delay differs from tick to tick."""
    catch_up: Literal["skip", "once", "always"] = "once"
    """What happens to missed ticks: none, only the newest, or each is run."""
    windows: tuple[str, ...] = ()
    """Times in UTC at which the job may run, like "Mon-Fri 02:00-05:00"; empty: always."""
    timeout_seconds: float = Field(default=3600, gt=0)
    """Time for one run."""

    @model_validator(mode="after")
    def _is_a_schedule(self) -> "JobTable":
        for text in self.windows:
            Window.parse(text)
        if self.zone not in available_timezones():
            raise ValueError(f"there is no time zone {self.zone!r}; write one like Europe/Madrid")
        if self.cron:
            cron_trigger(self.cron, self.zone)
        return self

    @property
    def schedule(self) -> Schedule:
        """The schedule that ticks are computed from."""
        return Schedule(
            every_seconds=self.every_seconds,
            cron=self.cron,
            zone=self.zone,
            jitter_seconds=self.jitter_seconds,
            catch_up=self.catch_up,
            windows=tuple(Window.parse(text) for text in self.windows),
        )


class PullTable(JobTable):
    """[schedule.pull] poll the sources"""

    every_seconds: int = Field(default=60, ge=0)


class CycleTable(JobTable):
    """[schedule.cycle] plan, edit, check, publish"""

    every_seconds: int = Field(default=3600, ge=0)
    timeout_seconds: float = Field(default=7200, gt=0)


class AuditJobTable(JobTable):
    """[schedule.audit] check the live release again"""

    every_seconds: int = Field(default=86_400, ge=0)


class StatisticsTable(JobTable):
    """[schedule.statistics] build missing second moments, check the others by their manifests"""

    every_seconds: int = Field(default=7 * 86_400, ge=0)
    timeout_seconds: float = Field(default=6 * 3600, gt=0)


class PruneTable(JobTable):
    """[schedule.prune] delete what [retention] does not keep"""

    every_seconds: int = Field(default=86_400, ge=0)


class ScheduleTable(Table):
    """[schedule] a table for each job"""

    pull: PullTable = PullTable()
    cycle: CycleTable = CycleTable()
    audit: AuditJobTable = AuditJobTable()
    statistics: StatisticsTable = StatisticsTable()
    prune: PruneTable = PruneTable()


class ApprovalsTable(Table):
    """[approvals] which batches wait for an operator (`factd approve N`)"""

    when: Literal["none", "large", "always"] = "none"
    """Which batches wait; "large" includes batches with facts of little trusted sources."""
    large_facts: int = Field(default=100, ge=1)
    """A batch that changes this many facts is large."""
    trust_below: int = Field(default=20, ge=0, le=100)
    """A fact counts as doubtful if the trust of its source is below this."""


class LimitsTable(Table):
    """[limits] what a day (UTC) may bring without an operator; 0: no limit"""

    edits_per_day: int = Field(default=0, ge=0)
    """Candidates of a day, rejected ones included."""
    facts_per_day: int = Field(default=0, ge=0)
    """New facts of a day."""
    publishes_per_day: int = Field(default=0, ge=0)
    """Publications of a day."""


class WorkerTable(Table):
    """[worker] the processes that load a model"""

    count: int = Field(default=1, ge=0)
    """Workers that the daemon starts; 0: `factd worker` runs elsewhere."""
    tasks: int = Field(default=50, ge=1)
    """A worker ends after so many tasks and a fresh one starts."""
    beat_seconds: float = Field(default=5.0, gt=0)
    """Time between a worker's signs of life."""
    stale_seconds: float = Field(default=60.0, gt=0)
    """A worker without a sign of life for so long counts as dead."""
    step_timeout_seconds: float = Field(default=3600, gt=0)
    """A worker without progress for so long is killed."""
    attempts: int = Field(default=12, ge=1)
    """Attempts at one task, with half as many facts after a failure."""
    back_off_seconds: float = Field(default=1.0, gt=0)
    """Wait before a worker starts again; doubles with each death, up to 60."""


class RetentionTable(Table):
    """[retention] what `prune` keeps"""

    days: float = Field(default=30.0, gt=0)
    """How long rejected candidates, and values that no candidate used, are kept."""
    runs_days: float = Field(default=90.0, gt=0)
    """How long runs, tasks and measurements of old candidates are kept."""


class LeaseTable(Table):
    """[lease] which one of several processes runs the jobs, and which one changes releases"""

    seconds: float = Field(default=15.0, gt=0)
    """Another process takes over after so long without a sign of life."""
