"""Channels that notices are sent over, one file each: its `Settings` (a table of the configuration)
and `send`.

`send` makes one attempt, bounded in time. A failed attempt is repeated later with the same id. So a
message may arrive twice, but is not lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from factd.daemon.config.tables import NOTICE_KINDS

UNASKED = ("published",)  # kinds that are sent only over channels that name them


class ChannelSettings(BaseModel):
    """The keys of every table [notify.NAME]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """The file in `daemon/channels`; default: the name of the table."""
    enabled: bool = True
    """Send over this channel."""
    kinds: tuple[str, ...] = tuple(kind for kind in NOTICE_KINDS if kind not in UNASKED)
    """Kinds of notices that are sent over this channel."""
    repeat_hours: float = Field(default=0.0, ge=0)
    """Send a notice again while it holds; 0: once."""
    timeout_seconds: float = Field(default=10.0, gt=0, le=25)
    """Time for one attempt; the next one follows after 30 seconds."""

    @field_validator("kinds")
    @classmethod
    def _are_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - set(NOTICE_KINDS):
            raise ValueError(
                f"{list(value)} has an unknown kind; the kinds are {', '.join(NOTICE_KINDS)}"
            )
        return value

    def ready(self) -> None:
        """Check the files that the table names. Raises: BadConfig: one cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A notice as it is sent."""

    id: str  # the same for every attempt, so that a receiver can drop repeats
    kind: str
    text: str
    data: Mapping[str, Any]
    first_at: datetime
    count: int
    over_at: datetime | None  # when it stopped to hold, before it was ever sent
    host: str  # the machine that sends it

    def as_json(self) -> dict[str, Any]:
        """The body of a webhook in the format of https://www.standardwebhooks.com."""
        more = {"count": self.count, "over_at": self.over_at.isoformat() if self.over_at else None}
        return {
            "type": f"factd.{self.kind}",
            "timestamp": self.first_at.isoformat(),
            "data": {"text": self.text, "host": self.host, **more, **self.data},
        }


class Channel(Protocol):
    """The function `send` of a channel's file."""

    def __call__(self, settings: Any, message: Message, *, now: datetime) -> None:
        """Make one attempt to send a message.

        Raises: NotSent: with `retry_seconds` if the receiver named a time. BadConfig: a secret is
        gone.
        """
        ...
