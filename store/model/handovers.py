"""Hand-overs of releases to servers.

Hand-overs form an outbox: they are carried out in the order of their ids, and each server has at
most one open hand-over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class HandoverStatus(StrEnum):
    """waiting → sending → done | failed.

    A hand-over goes back to waiting for another attempt. A later hand-over supersedes a waiting
    one.
    """

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
    server: str  # its name in [servers]
    release: int
    status: HandoverStatus
    attempts: int
    not_before: datetime | None
    created_at: datetime
    changed_at: datetime
    why: str  # the reason for the hand-over
    error: str  # of the last attempt
    restored: bool | None  # the last attempt failed and the version before serves again
    # (None: no attempt has failed)
    detail: Mapping[str, Any] = field(default_factory=dict)  # questions asked, correct answers

    @property
    def is_open(self) -> bool:
        """Whether the hand-over still waits or is being sent."""
        return self.status in OPEN

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
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
    """The state of a server when it was last checked."""

    name: str
    release: int | None  # the release that its users get, by the last check; None: not known
    version: str  # the name of that version; empty if it is not known
    loaded: tuple[str, ...]  # names of all versions that the server says it holds
    seen_at: datetime | None  # the last time the server answered
    error: str  # of the last check; empty if the server answered correctly

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        return {
            "name": self.name,
            "release": self.release,
            "version": self.version,
            "loaded": list(self.loaded),
            "seen_at": self.seen_at.isoformat() if self.seen_at else None,
            "error": self.error,
        }
