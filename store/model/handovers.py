"""Hand-overs of releases to servers, pure: an outbox of rows, at most one open a server, in the order of their ids."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class HandoverStatus(StrEnum):
    """waiting → sending → done | failed; back to waiting for another attempt; superseded by a later one."""

    WAITING = "waiting"
    SENDING = "sending"
    DONE = "done"
    FAILED = "failed"
    SUPERSEDED = "superseded"


_H = HandoverStatus
HANDOVER_MOVES: Mapping[HandoverStatus, tuple[HandoverStatus, ...]] = {
    _H.WAITING: (_H.SENDING, _H.SUPERSEDED),
    _H.SENDING: (_H.DONE, _H.FAILED, _H.WAITING),
    _H.DONE: (),
    _H.FAILED: (),
    _H.SUPERSEDED: (),
}
OPEN = (_H.WAITING, _H.SENDING)


@dataclass(frozen=True, kw_only=True)
class Handover:
    """One release on its way to one server."""

    id: int
    server: str  # of [servers]
    release: int
    status: HandoverStatus
    attempts: int
    not_before: datetime | None
    created_at: datetime
    changed_at: datetime
    why: str  # it was made
    error: str  # of the last attempt
    restored: (
        bool | None
    )  # after the last failure the version before serves again; None: none failed
    detail: Mapping[str, Any] = field(default_factory=dict)  # questions asked, answers that fit

    @property
    def is_open(self) -> bool:
        """It waits, or is on its way."""
        return self.status in OPEN

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "id": self.id,
            "server": self.server,
            "release": self.release,
            "status": self.status.value,
            "attempts": self.attempts,
            "created_at": self.created_at.isoformat(),
            "changed_at": self.changed_at.isoformat(),
            "why": self.why,
            "error": self.error,
            "restored": self.restored,
            "detail": dict(self.detail),
        }


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """How a server stood when it was last seen."""

    name: str
    release: int | None  # that its users get, as was last found by asking it; None: not known
    version: str  # the name of that version; empty: not known
    loaded: tuple[str, ...]  # names of all versions that it says it holds
    seen_at: datetime | None  # it last answered
    error: str  # of the last look; empty: it answered as it should

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "name": self.name,
            "release": self.release,
            "version": self.version,
            "loaded": list(self.loaded),
            "seen_at": self.seen_at.isoformat() if self.seen_at else None,
            "error": self.error,
        }
