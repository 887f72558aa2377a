"""Ticks are the same for every daemon, also after an absence or when clocks are set."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from factd.daemon.config.schedule import (
    Schedule,
    cron_trigger,
    delay_seconds,
    due_ticks,
    is_overdue,
    ticks,
)
from factd.daemon.config.windows import Window
from support.world import NOW

HOURLY = Schedule(every_seconds=3600)
NIGHTLY = Schedule(cron="30 2 * * *", zone="Europe/Madrid")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_ticks_do_not_depend_on_when_they_are_computed() -> None:
    first = list(ticks(HOURLY, NOW, NOW + 3 * HOUR))
    assert first == [NOW + HOUR, NOW + 2 * HOUR, NOW + 3 * HOUR]
    shifted = list(ticks(HOURLY, NOW + timedelta(minutes=7), NOW + 3 * HOUR))
    assert shifted == first


def test_a_tick_is_due_once() -> None:
    now = NOW + timedelta(minutes=5)
    assert due_ticks(HOURLY, None, now) == [NOW]
    assert due_ticks(HOURLY, NOW, now) == []
    assert due_ticks(HOURLY, NOW, NOW + HOUR) == [NOW + HOUR]


@pytest.mark.parametrize(
    ("rule", "minutes_late", "count"),
    [("once", 5, 1), ("once", 50, 1), ("always", 5, 5), ("skip", 5, 1), ("skip", 50, 0)],
)
def test_missed_ticks_are_run_as_catch_up_says(rule: str, minutes_late: int, count: int) -> None:
    schedule = Schedule(every_seconds=3600, catch_up=rule)
    now = NOW + 5 * HOUR + timedelta(minutes=minutes_late)
    found = due_ticks(schedule, NOW, now)
    assert len(found) == count
    assert found == sorted(found)
    assert all(NOW < tick <= now for tick in found)


def test_after_a_long_absence_at_most_a_thousand_ticks_are_run() -> None:
    schedule = Schedule(every_seconds=1, catch_up="always")
    assert len(due_ticks(schedule, NOW, NOW + DAY)) == 1000


def test_nothing_is_due_outside_the_windows() -> None:
    schedule = Schedule(every_seconds=3600, windows=(Window.parse("02:00-05:00"),))
    assert due_ticks(schedule, None, at("2026-11-21T01:59:00")) == []
    assert due_ticks(schedule, None, at("2026-11-21T02:00:00")) == [at("2026-11-21T02:00:00")]
    assert not is_overdue(schedule, at("2026-11-21T06:00:00"), 1e6)


def test_a_night_without_half_past_two_still_has_its_tick() -> None:
    spring = list(ticks(NIGHTLY, at("2026-03-27T12:00:00"), at("2026-03-30T12:00:00")))
    assert spring == [
        at("2026-03-28T01:30:00"),
        at("2026-03-29T01:30:00"),  # 02:30 does not exist; it is 03:30 by the new clock
        at("2026-03-30T00:30:00"),
    ]


def test_a_night_with_two_half_past_twos_has_one_tick() -> None:
    autumn = list(ticks(NIGHTLY, at("2026-10-23T12:00:00"), at("2026-10-26T12:00:00")))
    assert autumn == [
        at("2026-10-24T00:30:00"),
        at("2026-10-25T00:30:00"),
        at("2026-10-26T01:30:00"),
    ]
    madrid = ZoneInfo("Europe/Madrid")
    assert {tick.astimezone(madrid).strftime("%H:%M") for tick in autumn} == {"02:30"}


def test_a_year_of_nights_has_365_ticks() -> None:
    year = list(ticks(NIGHTLY, at("2026-01-01T00:00:00"), at("2027-01-01T00:00:00")))
    assert len(year) == len(set(year)) == 365


def test_a_clock_that_goes_forward_a_day_brings_one_tick() -> None:
    assert due_ticks(HOURLY, NOW, NOW + DAY) == [NOW + DAY]


def test_a_clock_that_goes_back_a_day_stops_jobs_for_one_and_a_half_periods() -> None:
    back = NOW - DAY + timedelta(minutes=1)
    held = NOW - DAY  # the newest tick until then: it was run a day ago
    assert due_ticks(HOURLY, held, back) == []
    assert not is_overdue(HOURLY, back, 3600)
    assert is_overdue(HOURLY, back, 1.6 * 3600)
    assert is_overdue(NIGHTLY, NOW, 1.6 * 86_400)
    assert not is_overdue(NIGHTLY, NOW, 1.4 * 86_400)


def test_jitter_differs_by_tick_and_job_and_is_the_same_everywhere() -> None:
    found = [delay_seconds("pull", NOW + n * HOUR, 60) for n in range(50)]
    assert all(0 <= seconds < 60 for seconds in found)
    assert len(set(found)) == 50
    assert found[0] == delay_seconds("pull", NOW, 60) != delay_seconds("audit", NOW, 60)
    assert delay_seconds("pull", NOW, 0) == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [("0 3 * *", "4 fields"), ("0 3 * * 1", "by name"), ("99 3 * * *", "99")],
)
def test_a_wrong_cron_line_says_what_to_write(line: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        cron_trigger(line, "UTC")


def test_weekdays_are_named_as_in_cron() -> None:
    mondays = Schedule(cron="0 3 * * mon")
    found = list(ticks(mondays, at("2026-11-01T00:00:00"), at("2026-11-30T12:00:00")))
    assert {tick.strftime("%a") for tick in found} == {"Mon"}
    assert len(found) == 5
