"""When jobs and batches may start, pure: weekly windows and frozen days, in UTC."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
WINDOW = re.compile(r"(?:(\w{3})(?:-(\w{3}))? )?(\d\d:\d\d)-(\d\d:\d\d)")


@dataclass(frozen=True, kw_only=True)
class Window:
    """Hours of some weekdays. A window that closes before it opens goes on past midnight."""

    days: tuple[int, ...]  # 0 is Monday; the day on which it opens
    opens: time
    closes: time

    @classmethod
    def parse(cls, text: str) -> "Window":
        """A window from its text. Raises: ValueError.

        "Mon-Fri 02:00-05:00", "Sat 00:00-00:00" (all day), "22:00-04:00" (every day).
        """
        match = WINDOW.fullmatch(text.strip())
        first, last = (match[1] or "Mon", match[2] or match[1] or "Sun") if match else ("", "")
        if not match or first not in DAYS or last not in DAYS:
            raise ValueError(f"{text!r} is not a window; write 'Mon-Fri 02:00-05:00' (UTC)")
        start, end = DAYS.index(first), DAYS.index(last)
        days = tuple((start + step) % 7 for step in range((end - start) % 7 + 1))
        return cls(
            days=days, opens=time.fromisoformat(match[3]), closes=time.fromisoformat(match[4])
        )

    def openings(self, now: datetime) -> list[datetime]:
        """When the window opens, from yesterday to a week from now, in order."""
        first = now.date() - timedelta(days=1)
        week = [first + timedelta(days=step) for step in range(9)]
        return [datetime.combine(d, self.opens, UTC) for d in week if d.weekday() in self.days]

    @property
    def length(self) -> timedelta:
        """How long the window stays open."""
        hours = datetime.combine(date.min, self.closes) - datetime.combine(date.min, self.opens)
        return hours if hours > timedelta(0) else hours + timedelta(days=1)


@dataclass(frozen=True, kw_only=True)
class FrozenDays:
    """Days on which nothing is written, both ends included."""

    first: date
    last: date

    @classmethod
    def parse(cls, text: str) -> "FrozenDays":
        """Days from "2026-12-24/2027-01-02", or from a single day. Raises: ValueError."""
        first, _, last = text.partition("/")
        days = cls(first=date.fromisoformat(first), last=date.fromisoformat(last or first))
        if days.last < days.first:
            raise ValueError(f"{text!r} ends before it begins; write the earlier day first")
        return days


def why_closed(now: datetime, windows: Sequence[Window], frozen: Sequence[FrozenDays]) -> str:
    """Why nothing starts now, and until when. Empty if something may start."""
    today = now.astimezone(UTC).date()
    for days in frozen:
        if days.first <= today <= days.last:
            return f"frozen days until {days.last}"
    if not windows or any(s <= now < s + w.length for w in windows for s in w.openings(now)):
        return ""
    opens = min(start for window in windows for start in window.openings(now) if start > now)
    return f"outside the schedule's windows; the next one opens {opens:%a %Y-%m-%d %H:%M} UTC"
