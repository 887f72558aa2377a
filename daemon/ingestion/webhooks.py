"""Deliveries to `/hooks/NAME`: verified, stored as they came, and answered.

The next pull reads them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.plugins import ConfiguredSource
from factd.store import queries


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An HTTP response."""

    status: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Hook:
    """The endpoint of one source."""

    max_bytes: int
    take: Callable[[Mapping[str, str], bytes], Reply]  # (headers in lower case, body)


def hooks(ledger: Ledger, sources: Mapping[str, ConfiguredSource]) -> dict[str, Hook]:
    """The endpoints of the enabled sources, by the source's name."""
    return {
        name: _hook(ledger, name, source.settings, source.receive)
        for name, source in sources.items()
        if source.receive and source.settings.enabled
    }


def _hook(ledger: Ledger, name: str, settings: Any, receive: Callable[..., Any]) -> Hook:
    def take(headers: Mapping[str, str], body: bytes) -> Reply:
        checked = receive(settings, headers, body, now=ledger.now())
        if checked.reason:
            log.warning("delivery refused", source=name, status=checked.status)
            return Reply(status=checked.status, text=checked.reason)
        with ledger.begin() as session:
            new = queries.sources.add_delivery(session, name, checked.key, body, now=ledger.now())
        return Reply(status=202, text="stored" if new else "was stored before")

    return Hook(max_bytes=settings.max_bytes, take=take)
