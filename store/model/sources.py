"""Where each source stands, pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """Where one source stands."""

    name: str
    cursor: Mapping[str, Any] = field(default_factory=dict)  # the source's own
    pulled_at: datetime | None = None
    succeeded_at: datetime | None = None
    not_before: datetime | None = None
    failures: int = 0  # in a row
    error: str = ""
    frozen: str = ""  # why; empty: it is not

    def as_json(self) -> dict[str, Any]:
        """For `--json`; the cursor may hold long lists and stays out."""
        times = ("pulled_at", "succeeded_at", "not_before")
        found = {name: value.isoformat() if (value := getattr(self, name)) else None for name in times}  # fmt: skip
        more = {"failures": self.failures, "error": self.error or None}
        return {"name": self.name, **found, **more, "frozen": self.frozen or None}
