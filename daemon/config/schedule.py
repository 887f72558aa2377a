"""When jobs run, pure: the ticks of a schedule, those that were missed, and the moment within a tick.

A tick is a moment that every daemon computes alike, in UTC; who runs it is decided in the database, by a unique row.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger

from factd.daemon.config.windows import Window, closed

MOST = 1000  # missed ticks that are made up for, at most
LOOK_BACK = timedelta(days=2)  # for missed ticks of a cron line


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Every so many seconds, or by a cron line in a time zone; only within windows, where there are some."""

    every_seconds: int = 0
    cron: str = ""
    zone: str = "UTC"
    jitter_seconds: int = 0
    catch_up: str = "once"  # what becomes of missed ticks: skip, once (the newest), always
    windows: tuple[Window, ...] = ()

    @property
    def is_on(self) -> bool:
        """It ever ticks."""
        return bool(self.every_seconds or self.cron)


def cron_trigger(line: str, zone: str) -> CronTrigger:
    """A cron line of five fields. Raises: ValueError: says what to write.

    Days of the week by name: APScheduler counts them from Monday, cron from Sunday.
    """
    fields = line.split()
    if len(fields) != 5:
        raise ValueError(f"{line!r} has {len(fields)} fields; write minute hour day month weekday")
    if any(c.isdigit() for c in fields[4].partition("/")[0]):
        raise ValueError(f"{line!r}: write days of the week by name, mon-fri")
    return CronTrigger.from_crontab(line, timezone=ZoneInfo(zone))


def ticks(schedule: Schedule, since: datetime, until: datetime) -> Iterator[datetime]:
    """The ticks after `since`, up to and with `until`, in order, in UTC."""
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
    """One tick a day at 02:30 stays one where clocks are set: a time that is skipped comes an hour later by the new clock, one
    that comes twice counts the first time."""
    trigger, zone = cron_trigger(schedule.cron, schedule.zone), ZoneInfo(schedule.zone)
    at = last = since.astimezone(UTC)
    while at <= until:
        moment = (at + timedelta(microseconds=1)).astimezone(zone)
        found = trigger.get_next_fire_time(None, moment)
        if found is None:
            return
        tick = found.replace(fold=0).astimezone(UTC)
        if last < tick <= until:
            yield tick
            last = tick
        at = max(at + timedelta(minutes=1), tick, found.astimezone(UTC))


def newest(schedule: Schedule, now: datetime) -> datetime | None:
    """The last tick until now; None: none in the last two days."""
    if schedule.every_seconds and not schedule.cron:
        step = schedule.every_seconds
        return datetime.fromtimestamp(now.timestamp() // step * step, UTC)
    return max(ticks(schedule, now - LOOK_BACK, now), default=None)


def due(schedule: Schedule, last: datetime | None, now: datetime) -> list[datetime]:
    """The ticks that are to be run now, given the last one until now that was; nothing outside the windows."""
    if not schedule.is_on or (schedule.windows and closed(now, schedule.windows, ())):
        return []
    current = newest(schedule, now)
    if current is None or (last is not None and current <= last):
        return []
    found = [current]
    if last is not None and schedule.catch_up == "always":
        found = list(islice(ticks(schedule, last, now), MOST))
    return _not_skipped(schedule, found, now)


def is_overdue(schedule: Schedule, now: datetime, idle_seconds: float) -> bool:
    """By this process's own clock, one and a half periods have passed without a tick: the wall clock went back.

    The ticks of the time that now comes again have been run; without this rule nothing would run until it is over.
    """
    if not schedule.is_on or (schedule.windows and closed(now, schedule.windows, ())):
        return False
    around = list(islice(ticks(schedule, now - LOOK_BACK, now + LOOK_BACK), 2))
    if schedule.every_seconds and not schedule.cron:
        return idle_seconds > 1.5 * schedule.every_seconds
    return len(around) == 2 and idle_seconds > 1.5 * (around[1] - around[0]).total_seconds()


def _not_skipped(schedule: Schedule, found: Sequence[datetime], now: datetime) -> list[datetime]:
    """Without what was missed by more than a tick's own time, where such are to be skipped."""
    if schedule.catch_up != "skip":
        return list(found)
    following = next(ticks(schedule, found[-1], now + LOOK_BACK), None)
    late = now - found[-1]
    room = (following - found[-1]) / 2 if following else timedelta(minutes=1)
    return list(found) if late <= room + timedelta(seconds=schedule.jitter_seconds) else []


def longest_seconds(schedule: Schedule) -> float:
    """Between two ticks, at most, within a week; 0: it does not tick."""
    if not schedule.cron:
        return float(schedule.every_seconds)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    found = list(islice(ticks(schedule, begin, begin + timedelta(days=32)), MOST))
    return max((b - a).total_seconds() for a, b in pairwise(found)) if len(found) > 1 else 0.0


def delay_seconds(job: str, tick: datetime, jitter_seconds: int) -> float:
    """How long after its tick a job starts: another moment each time and for each job, the same on every host."""
    if not jitter_seconds:
        return 0.0
    digest = hashlib.sha256(f"{job} {tick.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 * jitter_seconds
