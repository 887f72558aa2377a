"""Values as templates show them: times, statuses, counts. No input but the arguments."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape

from factd.daemon.web.actions import ACTIONS

TARGET = re.compile("[0-9a-f]{0,16}")
CODE = re.compile("`([^`]+)`")
SAFE_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]*")


@dataclass(frozen=True)
class Mark:
    """How a status looks. The shape says as much as the colour, for readers who see no colours."""

    shape: str
    kind: str  # good, busy, bad, quiet


GOOD, BUSY, BAD, QUIET = (
    Mark("●", "good"),
    Mark("◐", "busy"),
    Mark("▲", "bad"),
    Mark("○", "quiet"),
)
MARKS: Mapping[str, Mark] = {
    **dict.fromkeys(("live", "active", "done", "pass", "passed", "known", "good"), GOOD),
    **dict.fromkeys(
        (
            "planned",
            "solving",
            "checking",
            "publishing",
            "running",
            "pending",
            "waiting",
            "soaking",
            "sending",
        ),
        BUSY,
    ),
    **dict.fromkeys(("accepted", "future", "unproven", "inconclusive"), BUSY),
    **dict.fromkeys(("rejected", "failed", "fail", "conflicting", "frozen", "failing"), BAD),
}
SHOWN_STATUSES = (  # on the overview, in this order: statuses of waiting facts first
    ("pending", "wait to be written"),
    ("soaking", "wait for their soak time to pass"),
    ("unproven", "lack references or a second source"),
    ("conflicting", "contradict each other"),
    ("future", "are valid from a later day"),
    ("active", "are in the live release"),
    ("known", "are held by the base model"),
    ("rejected", "were rejected"),
    ("withdrawn", "were withdrawn"),
)


def mark(word: str) -> Mark:
    """The mark of a status. Statuses without a mark of their own, such as `retired`, are quiet."""
    return MARKS.get(word, QUIET)


def utc(at: datetime | None) -> str:
    """A time in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if at else "never"


def iso(at: datetime | None) -> str:
    """A time in ISO 8601, UTC, for programs and tooltips."""
    return at.astimezone(UTC).isoformat(timespec="seconds") if at else ""


def ago(at: datetime, now: datetime) -> str:
    """How long ago, in the largest unit of which at least two have passed."""
    seconds = max(0, int((now - at).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: 1 fact, 1,000 facts."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def short(hash_: str | None) -> str:
    """The first 12 digits of a hash."""
    return (hash_ or "none")[:12]


def linked(path: str, given: Mapping[str, Any]) -> str:
    """An address with the parameters that are not empty."""
    query = urlencode({name: value for name, value in given.items() if value})
    return f"{path}?{query}" if query else path


def done_text(done: str, of: str) -> str:
    """What was just done, as the action's own sentence. Nothing else from the address is shown."""
    if done not in ACTIONS or not TARGET.fullmatch(of):
        return ""
    return ACTIONS[done].done.format(of)


def safe_path(text: str) -> str:
    """The page to show after a login: a path of the console, whatever the address says."""
    return text if SAFE_PATH.fullmatch(text) else "/"


def findings(decision: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The findings of the gates, failures first."""
    order = {"fail": 0, "inconclusive": 1}
    rows = decision.get("findings") or ()
    return sorted(rows, key=lambda row: order.get(row["verdict"], 2))


def figure(value: Any) -> str:
    """A measurement with three decimals."""
    return f"{value:.3f}" if isinstance(value, int | float) else "no number"


def with_code(text: str) -> Markup:
    """A sentence as HTML, with commands in `backticks` as code. Everything else is escaped."""
    return Markup(CODE.sub(r"<code>\1</code>", str(escape(text))))
