"""Windows and frozen days, in UTC."""

from datetime import UTC, datetime

import pytest

from factd.daemon.config.windows import FrozenDays, Window, why_closed

MONDAY = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}:00+00:00")


@pytest.mark.parametrize(
    ("window", "now", "is_open"),
    [
        ("Mon-Fri 02:00-05:00", "2026-11-23 03:00", True),
        ("Mon-Fri 02:00-05:00", "2026-11-23 05:00", False),
        ("Mon-Fri 02:00-05:00", "2026-11-22 03:00", False),
        ("Sun 22:00-04:00", "2026-11-23 03:59", True),
        ("Fri-Mon 00:00-00:00", "2026-11-22 12:00", True),
        ("22:00-04:00", "2026-11-24 23:00", True),
        ("22:00-04:00", "2026-11-24 12:00", False),
    ],
)
def test_a_window_is_open_at_its_hours(window: str, now: str, is_open: bool) -> None:
    assert (why_closed(at(now), [Window.parse(window)], []) == "") is is_open


def test_a_closed_window_says_when_the_next_one_opens() -> None:
    said = why_closed(at("2026-11-21 12:00"), [Window.parse("Mon 02:00-05:00")], [])
    assert said == "outside the schedule's windows; the next one opens Mon 2026-11-23 02:00 UTC"


def test_frozen_days_close_every_window() -> None:
    days = [FrozenDays.parse("2026-11-20/2026-11-23")]
    assert why_closed(MONDAY, [], days) == "frozen days until 2026-11-23"
    assert why_closed(at("2026-11-24 00:00"), [], days) == ""


@pytest.mark.parametrize("text", ["Mon", "Mon 2:00-3:00", "Xxx 02:00-03:00", "25:00-26:00", ""])
def test_a_text_that_is_not_a_window_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Window.parse(text)


def test_days_that_end_before_they_begin_are_refused() -> None:
    with pytest.raises(ValueError, match="ends before"):
        FrozenDays.parse("2026-12-02/2026-12-01")
