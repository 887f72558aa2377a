"""Channels that notices are told over, one file each: `Settings`, its table of the configuration, and `send`.

`send` makes one attempt, bounded in time; what fails is tried again later with the same id, so that a message may come
twice but does not get lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, field_validator

from factd.daemon.config.tables import KINDS

UNASKED = ("published",)  # kinds that are told only where a channel names them


class ChannelSettings(BaseModel):
    """What every [notify.NAME] has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """The file in `daemon/channels`; default: the name of the table."""
    enabled: bool = True
    """Send over this channel."""
    kinds: tuple[str, ...] = tuple(kind for kind in KINDS if kind not in UNASKED)
    """Kinds of notices that are sent over this channel."""
    repeat_hours: float = Field(default=0.0, ge=0)
    """Send a notice again while it holds; 0: once."""
    timeout_seconds: float = Field(default=10.0, gt=0, le=25)
    """Time for one attempt; the next one follows after 30 seconds."""

    @field_validator("kinds")
    @classmethod
    def _are_kinds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if set(value) - set(KINDS):
            raise ValueError(f"{list(value)}: there are {', '.join(KINDS)}")
        return value

    def ready(self) -> None:
        """Raises: BadConfig: a file that it names cannot be read."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A notice as it is sent."""

    id: str  # the same for every attempt: a receiver drops what it has by this
    kind: str
    text: str
    data: Mapping[str, Any]
    first_at: datetime
    count: int
    over_at: datetime | None  # it holds no more, but was never told
    host: str  # that sends it

    def as_json(self) -> dict[str, Any]:
        """The body of a webhook, as https://www.standardwebhooks.com has it."""
        more = {"count": self.count, "over_at": self.over_at.isoformat() if self.over_at else None}
        return {
            "type": f"factd.{self.kind}",
            "timestamp": self.first_at.isoformat(),
            "data": {"text": self.text, "host": self.host, **more, **self.data},
        }


class Channel(Protocol):
    """Sends a message, once."""

    def __call__(self, settings: Any, message: Message, *, now: datetime) -> None:
        """One attempt. Raises: NotSent: with `retry_seconds` where the receiver named a time. BadConfig: a secret is gone."""
        ...
