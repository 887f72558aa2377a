"""When jobs run, pure: the ticks of a schedule, the missed ones, and a job's delay after its tick.

A tick is a moment in UTC that every daemon computes alike. A unique row in the database decides
which daemon runs it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from factd.daemon.config.windows import Window, why_closed

MAX_TICKS = 1000  # missed ticks that are run later, at most
LOOK_BACK = timedelta(days=2)  # how far back missed ticks of a cron line are looked for


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Ticks at an interval, or by a cron line in a time zone. Windows, if set, limit the ticks."""

    every_seconds: int = 0
    cron: str = ""
    zone: str = "UTC"
    jitter_seconds: int = 0
    catch_up: str = (
        "once"  # which missed ticks are run: skip (none), once (the newest), always (each)
    )
    windows: tuple[Window, ...] = ()

    @property
    def is_on(self) -> bool:
        """Whether the schedule ever ticks."""
        return bool(self.every_seconds or self.cron)


def cron_trigger(line: str, zone: str) -> CronTrigger:
    """The trigger of a cron line with five fields. Raises: ValueError: says what to write.

    Days of the week must be names: APScheduler counts them from Monday, cron from Sunday.
    """
    fields = line.split()
    if len(fields) != 5:
        raise ValueError(f"{line!r} has {len(fields)} fields; write minute hour day month weekday")
    if any(c.isdigit() for c in fields[4].partition("/")[0]):
        raise ValueError(f"{line!r}: write days of the week by name, like mon-fri")
    return CronTrigger.from_crontab(line, timezone=ZoneInfo(zone))


def ticks(schedule: Schedule, since: datetime, until: datetime) -> Iterator[datetime]:
    """The ticks after `since`, up to and including `until`, in order, in UTC."""
    if schedule.cron:
        yield from _cron_ticks(schedule, since, until)
        return
    step = schedule.every_seconds
    if not step:
        return
    count = int(since.timestamp() // step) + 1
    while count * step <= until.timestamp():
        yield datetime.fromtimestamp(count * step, UTC)
        count += 1


def _cron_ticks(schedule: Schedule, since: datetime, until: datetime) -> Iterator[datetime]:
    """The ticks of a cron line. A daily tick at 02:30 stays one tick on days when clocks are set.

    A local time that is skipped ticks an hour later by the new clock. A local time that comes twice
    ticks the first time.
    """
    trigger, zone = cron_trigger(schedule.cron, schedule.zone), ZoneInfo(schedule.zone)
    at = last = since.astimezone(UTC)
    while at <= until:
        moment = (at + timedelta(microseconds=1)).astimezone(zone)
        fires = trigger.get_next_fire_time(None, moment)
        if fires is None:
            return
        tick = fires.replace(fold=0).astimezone(UTC)
        if last < tick <= until:
            yield tick
            last = tick
        at = max(at + timedelta(minutes=1), tick, fires.astimezone(UTC))


def newest_tick(schedule: Schedule, now: datetime) -> datetime | None:
    """The last tick until now; None if a cron line had none in the last two days."""
    if schedule.every_seconds and not schedule.cron:
        step = schedule.every_seconds
        return datetime.fromtimestamp(now.timestamp() // step * step, UTC)
    return max(ticks(schedule, now - LOOK_BACK, now), default=None)


def due_ticks(schedule: Schedule, last: datetime | None, now: datetime) -> list[datetime]:
    """The ticks to run now. Outside the windows there are none.

    last: the newest tick that was run, if one was.
    """
    if not schedule.is_on or (schedule.windows and why_closed(now, schedule.windows, ())):
        return []
    current = newest_tick(schedule, now)
    if current is None or (last is not None and current <= last):
        return []
    if last is not None and schedule.catch_up == "always":
        return list(islice(ticks(schedule, last, now), MAX_TICKS))
    if schedule.catch_up == "skip" and _is_missed(schedule, current, now):
        return []
    return [current]


def is_overdue(schedule: Schedule, now: datetime, idle_seconds: float) -> bool:
    """Whether one and a half periods have passed without a tick, because the wall clock went back.

    The ticks of the time that now comes again were run already. Without this rule nothing would run
    until that time is over. idle_seconds: since the last run, by this process's own clock.
    """
    if not schedule.is_on or (schedule.windows and why_closed(now, schedule.windows, ())):
        return False
    around = list(islice(ticks(schedule, now - LOOK_BACK, now + LOOK_BACK), 2))
    if schedule.every_seconds and not schedule.cron:
        return idle_seconds > 1.5 * schedule.every_seconds
    return len(around) == 2 and idle_seconds > 1.5 * (around[1] - around[0]).total_seconds()


def _is_missed(schedule: Schedule, tick: datetime, now: datetime) -> bool:
    """Whether more than half a period, and the jitter, have passed since a tick."""
    following = next(ticks(schedule, tick, now + LOOK_BACK), None)
    half_period = (following - tick) / 2 if following else timedelta(minutes=1)
    return now - tick > half_period + timedelta(seconds=schedule.jitter_seconds)


def longest_interval_seconds(schedule: Schedule) -> float:
    """The longest time between two ticks of a month; 0 if the schedule does not tick."""
    if not schedule.cron:
        return float(schedule.every_seconds)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    month = list(islice(ticks(schedule, begin, begin + timedelta(days=32)), MAX_TICKS))
    return max((b - a).total_seconds() for a, b in pairwise(month)) if len(month) > 1 else 0.0


def delay_seconds(job: str, tick: datetime, jitter_seconds: int) -> float:
    """How long after its tick a job starts. It differs by tick and job, but not by host."""
    if not jitter_seconds:
        return 0.0
    digest = hashlib.sha256(f"{job} {tick.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * jitter_seconds
