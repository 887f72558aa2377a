"""Sources of fact updates, one file each: `Settings`, its table of the configuration, and `pages`, what is new.

`pages` is a generator. It yields a page of claims with the cursor that follows them, and goes on when both are in the
database, in one transaction; what it is sent then is the report on that page. Where it is interrupted, the next pull
starts from the last cursor: pages may come twice, since taking a claim twice changes nothing, but none is lost.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from factd.daemon.config.load import secret_text
from factd.daemon.network.client import Client, HttpAnswer, Limits, shown_url
from factd.store.catalogue.catalogue import Catalogue
from factd.store.ingest.ingest import IngestReport
from factd.store.ingest.parsing import BadLine, Line
from factd.store.model.facts import Fact, FactUpdate, Receipt, Terms
from factd.store.queries.sources import Delivery

LINES = 2000  # of a page


class SourceSettings(BaseModel):
    """What every [sources.NAME] has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str  # the file in daemon/sources; the table's own name where it is not given
    enabled: bool = True
    trust: int = Field(default=50, ge=0, le=100)
    licence: str = ""
    speaks_for: tuple[str, ...] = ()  # the `source` that its claims may name; empty: any
    soak_seconds: int = Field(default=0, ge=0)  # on the source's clock, before a claim counts
    min_references: int = Field(default=0, ge=0)
    needs_sources: int = Field(default=1, ge=1)  # that say the same
    max_risk: float = Field(default=1.0, ge=0, le=1)
    priority_days: float = 0.0  # how much earlier than its age a claim is written
    volume_factor: float = Field(default=100.0, ge=0)  # times its usual day freezes it; 0: never
    volume_floor: int = Field(default=100, ge=1)  # claims of a day that are never too many
    max_claims_per_day: int = Field(default=0, ge=0)  # more freeze it; 0: any number

    def ready(self) -> None:
        """Raises: BadConfig: a file that it names cannot be read."""

    def terms(self, name: str) -> Terms:
        """On what terms its claims are taken."""
        return Terms(
            channel=name,
            trust=self.trust,
            licence=self.licence,
            soak=timedelta(seconds=self.soak_seconds),
            min_references=self.min_references,
            needs_sources=self.needs_sources,
            max_risk=self.max_risk,
            priority=self.priority_days,
        )


class RemoteSettings(SourceSettings):
    """What every source has that is asked over HTTP."""

    contact: str = ""  # of you, for the user agent: a mail address or URL
    timeout_seconds: float = Field(default=30.0, gt=0)  # of a whole request
    max_bytes: int = Field(default=32 * 1024 * 1024, ge=1)  # of one answer
    max_pages: int = Field(default=100, ge=1)  # of one pull
    attempts: int = Field(default=3, ge=1, le=10)
    retry_wait_seconds: float = Field(default=1.0, gt=0)
    retry_after_seconds: float = Field(default=60.0, ge=0)  # a longer wish ends the pull
    requests_per_minute: float = Field(default=120.0, gt=0)
    allow_networks: tuple[str, ...] = ()  # private networks, as "10.1.0.0/16"
    token_file: Path | None = None  # a Bearer token

    def ready(self) -> None:
        """Raises: BadConfig: the token's file cannot be read."""
        self.limits("")

    def limits(self, version: str) -> Limits:
        """For the client. Raises: BadConfig."""
        return Limits(
            user_agent=f"factd/{version} ({self.contact or 'no contact'})",
            seconds=self.timeout_seconds,
            connect_seconds=min(10.0, self.timeout_seconds),
            bytes=self.max_bytes,
            attempts=self.attempts,
            wait_seconds=self.retry_wait_seconds,
            retry_after_seconds=self.retry_after_seconds,
            requests_per_minute=self.requests_per_minute,
            networks=self.allow_networks,
            token=secret_text(self.token_file) if self.token_file else "",
        )


@dataclass(frozen=True, kw_only=True)
class SourcePage:
    """Claims, and everything that is kept in the same transaction."""

    lines: Iterable[Line | BadLine]
    cursor: Mapping[str, Any] | None  # None: it stays where it is
    receipt: Receipt
    seen: Mapping[str, str] = field(default_factory=dict)  # items by key, in the state they had
    points: Mapping[str, Sequence[str]] = field(default_factory=dict)  # source -> items to look at
    looked_at: Sequence[str] = ()  # items that this source was pointed at
    deliveries: Sequence[int] = ()  # webhook bodies that these lines come from


SourcePages = Generator[SourcePage, IngestReport, None]


@dataclass(frozen=True, kw_only=True)
class SourceTools:
    """What a source may use: a clock, the catalogue, a client, and what is known about its own items."""

    name: str  # the source's
    now: Callable[[], datetime]
    catalogue: Catalogue
    languages: tuple[str, ...]  # that are written or served
    client: Callable[[RemoteSettings], Client]
    seen: Callable[[Iterable[str]], dict[str, str]]
    pointers: Callable[[int], list[str]]
    claimed: Callable[[str, str], list[Fact]]  # (source, subject id) -> what it has not taken back
    facts: Callable[[Iterable[str]], list[Fact]]  # by id
    seen_all: Callable[[str], dict[str, str]]  # every item whose key has a prefix
    deliveries: Callable[[int, int], list[Delivery]]  # (after, limit)


class SourceReader(Protocol):
    """Yields what is new since a cursor."""

    def __call__(self, settings: Any, cursor: Mapping[str, Any], tools: SourceTools) -> SourcePages:
        """One pull, bounded. Raises: SourceFailed."""
        ...


def receipt_of(answer: HttpAnswer, at: datetime) -> Receipt:
    """Which payload brought claims, for an answer over HTTP that was asked for then."""
    digest = hashlib.sha256(answer.body).hexdigest()
    return Receipt(file=shown_url(answer.url), retrieved_at=at, payload_hash=digest)


def withdrawal(fact: Fact, revision: str, at: datetime) -> FactUpdate:
    """The word of a claim's source that it takes the claim back."""
    said = fact.update
    return replace(said, revision=revision, event_time=max(at, said.event_time), withdrawn=True)


@dataclass(frozen=True, kw_only=True)
class PullResult:
    """What one pull brought."""

    source: str
    files: int = 0  # or pages
    lines: int = 0
    new: int = 0
    bad: int = 0
    why: str = ""  # it was not asked, or not to the end

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "source": self.source,
            "files": self.files,
            "lines": self.lines,
            "new": self.new,
            "bad": self.bad,
            "why": self.why or None,
        }
