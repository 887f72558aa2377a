"""The tables of the configuration file that say how factd runs: schedules, approvals, limits, workers, retention, leases."""

from typing import Literal
from zoneinfo import available_timezones

from pydantic import Field, model_validator

from factd.daemon.config.schedule import Schedule, cron_trigger
from factd.daemon.config.tables import Table
from factd.daemon.config.windows import Window


class JobTable(Table):
    """[schedule.JOB] when a job runs: every so many seconds, or by a cron line"""

    every_seconds: int = Field(default=0, ge=0)  # 0: not by this
    cron: str = ""  # "30 2 * * mon-fri"; days of the week by name
    zone: str = "UTC"  # of the cron line
    jitter_seconds: int = Field(default=0, ge=0)  # at most this much later, another time each tick
    catch_up: Literal["skip", "once", "always"] = "once"  # what becomes of missed ticks
    windows: tuple[str, ...] = ()  # "Mon-Fri 02:00-05:00" in UTC; empty: always
    timeout_seconds: float = Field(default=3600, gt=0)  # for one run

    @model_validator(mode="after")
    def _is_a_schedule(self) -> "JobTable":
        for text in self.windows:
            Window.parse(text)
        if self.zone not in available_timezones():
            raise ValueError(f"no time zone {self.zone!r}; write Europe/Madrid or UTC")
        if self.cron:
            cron_trigger(self.cron, self.zone)
        return self

    @property
    def schedule(self) -> Schedule:
        """As the clock computes with it."""
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
    """[schedule.audit] ask the live release again"""

    every_seconds: int = Field(default=86_400, ge=0)


class StatisticsTable(JobTable):
    """[schedule.statistics] second moments: built where they are missing, compared with their manifest"""

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

    when: Literal["none", "large", "always"] = "none"  # large: also those of which little is known
    large_facts: int = Field(default=100, ge=1)  # that change
    trust_below: int = Field(default=20, ge=0, le=100)  # of a fact's source


class LimitsTable(Table):
    """[limits] what a day (UTC) may bring, unattended; 0: no limit"""

    edits_per_day: int = Field(default=0, ge=0)  # candidates, also rejected ones
    facts_per_day: int = Field(default=0, ge=0)  # new ones
    publishes_per_day: int = Field(default=0, ge=0)


class WorkerTable(Table):
    """[worker] the processes that load a model"""

    count: int = Field(default=1, ge=0)  # that the daemon starts; 0: `factd worker` runs elsewhere
    tasks: int = Field(default=50, ge=1)  # until a worker makes room for a fresh one
    beat_seconds: float = Field(default=5.0, gt=0)  # between its signs of life
    stale_seconds: float = Field(default=60.0, gt=0)  # without one until it counts as dead
    step_timeout_seconds: float = Field(default=3600, gt=0)  # without progress within a step
    attempts: int = Field(default=12, ge=1)  # of one task, each with half as many facts
    back_off_seconds: float = Field(default=1.0, gt=0)  # doubled with each death, 60 at most


class RetentionTable(Table):
    """[retention] what `prune` keeps"""

    days: float = Field(
        default=30.0, gt=0
    )  # of values that no candidate used, of rejected candidates
    runs_days: float = Field(default=90.0, gt=0)  # of runs, tasks and old candidates' measurements


class LeaseTable(Table):
    """[lease] who ticks and who changes releases, where several processes could"""

    seconds: float = Field(default=15.0, gt=0)  # without a sign of life until another takes over
