"""What is posted to `/hooks/NAME`: verified, stored as it came, answered. The source takes it at its next pull."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from factd.daemon.app import Factd
from factd.daemon.log import log
from factd.store import queries


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP answer."""

    status: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Hook:
    """One source that is sent to."""

    max_bytes: int
    take: Callable[[Mapping[str, str], bytes], Reply]  # headers in lower case, body


def hooks(factd: Factd) -> dict[str, Hook]:
    """The hooks of the configured sources, by name."""
    return {
        name: _hook(factd, name, source.settings, source.receive)
        for name, source in factd.sources.items()
        if source.receive and source.settings.enabled
    }


def _hook(factd: Factd, name: str, settings: Any, receive: Callable[..., Any]) -> Hook:
    def take(headers: Mapping[str, str], body: bytes) -> Reply:
        found = receive(settings, headers, body, now=factd.now())
        if found.reason:
            log.warning("delivery refused", source=name, status=found.status)
            return Reply(status=found.status, text=found.reason)
        with factd.store.begin() as session:
            new = queries.sources.add_delivery(session, name, found.key, body, now=factd.now())
        return Reply(status=202, text="stored" if new else "was stored before")

    return Hook(max_bytes=settings.max_bytes, take=take)
