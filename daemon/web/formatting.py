"""What templates show, pure: words, shapes and times."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from factd.daemon.web.actions import ACTIONS

TARGET = re.compile("[0-9a-f]{0,16}")
SAFE_PATH = re.compile(r"/(?![/\\])[\x21-\x7e]*")


@dataclass(frozen=True)
class Mark:
    """How a status looks: its shape says as much as its colour."""

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
SHOWN_STATUSES = (  # on the overview, what waits first
    ("pending", "wait to be written"),
    ("soaking", "soak on their source's clock"),
    ("unproven", "lack references or sources"),
    ("conflicting", "contradict each other"),
    ("future", "hold from a later day"),
    ("active", "are in the live release"),
    ("known", "the base model holds"),
    ("rejected", "were rejected"),
    ("withdrawn", "were taken back"),
)


def mark(word: str) -> Mark:
    """The shape of a status; one that is over is quiet."""
    return MARKS.get(word, QUIET)


def utc(at: datetime | None) -> str:
    """A time for people."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}" if at else "never"


def iso(at: datetime | None) -> str:
    """A time for programs and tooltips."""
    return at.astimezone(UTC).isoformat(timespec="seconds") if at else ""


def ago(at: datetime, now: datetime) -> str:
    """How long ago, roughly."""
    seconds = max(0, int((now - at).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def count(number: int, one: str, many: str = "") -> str:
    """ "1 fact", "1,000 facts"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def short(hash_: str | None) -> str:
    """The start of a hash."""
    return (hash_ or "none")[:12]


def linked(path: str, given: Mapping[str, Any]) -> str:
    """An address with those parameters that hold something."""
    query = urlencode({name: value for name, value in given.items() if value})
    return f"{path}?{query}" if query else path


def told(done: str, of: str) -> str:
    """What was just done, in a sentence of ours; an address cannot say anything else."""
    if done not in ACTIONS or not TARGET.fullmatch(of):
        return ""
    return ACTIONS[done].done.format(of)


def safe_path(text: str) -> str:
    """Where to go after a login: a page of ours."""
    return text if SAFE_PATH.fullmatch(text) else "/"


def findings(decision: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """What the gates said, failures first."""
    order = {"fail": 0, "inconclusive": 1}
    rows = decision.get("findings") or ()
    return sorted(rows, key=lambda row: order.get(row["verdict"], 2))


def figure(value: Any) -> str:
    """A measurement for people."""
    return f"{value:.3f}" if isinstance(value, int | float) else "no number"
