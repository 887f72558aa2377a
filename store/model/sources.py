"""The state of a source: its cursor, its last pulls, its failures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """The state of one source."""

    name: str
    cursor: Mapping[str, Any] = field(default_factory=dict)  # in the source's own format
    pulled_at: datetime | None = None
    succeeded_at: datetime | None = None
    not_before: datetime | None = None  # time of the next try, if the source asked for a pause
    failures: int = 0  # in a row
    error: str = ""
    frozen: str = ""  # the reason; empty if the source is not frozen

    def as_json(self) -> dict[str, Any]:
        """The state for `--json`. The cursor is left out: it may hold long lists."""
        names = ("pulled_at", "succeeded_at", "not_before")
        moments = {name: getattr(self, name) for name in names}
        times = {name: at.isoformat() if at else None for name, at in moments.items()}
        more = {"failures": self.failures, "error": self.error or None}
        return {"name": self.name, **times, **more, "frozen": self.frozen or None}
