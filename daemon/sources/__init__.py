"""Sources of fact updates, one file each.

Each file has `Settings`, the class for its table of the configuration, and `pages`, a generator of
what is new. `pages` yields a page of claims together with the cursor that follows them. Both are
stored in one transaction, and the generator is sent the report on that page before it goes on. If
it is interrupted, the next pull starts from the last stored cursor. Pages may then come twice,
which changes nothing, but none is lost.
"""

import hashlib
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from factd.daemon.config.secrets import secret_text
from factd.daemon.network.client import Client, HttpAnswer, Limits, shown_url
from factd.store.catalogue.catalogue import Catalogue
from factd.store.ingest.ingest import IngestReport
from factd.store.ingest.parsing import BadLine, ParsedLine
from factd.store.model.facts import Fact, FactUpdate, Receipt, Terms
from factd.store.queries.sources import Delivery

LINES = 2000  # the most lines of one page


class SourceSettings(BaseModel):
    """The keys that every [sources.NAME] table has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """The file in `daemon/sources`; default: the name of the table."""
    enabled: bool = True
    """Read this source."""
    trust: int = Field(default=50, ge=0, le=100)
    """How much its claims are trusted when sources differ."""
    licence: str = ""
    """Licence of its data; kept with each claim."""
    speaks_for: tuple[str, ...] = ()
    """The `source` names that its claims may carry; empty: any."""
    soak_seconds: int = Field(default=0, ge=0)
    """Age, on the source's clock, at which a claim starts to count."""
    min_references: int = Field(default=0, ge=0)
    """References that a claim needs."""
    needs_sources: int = Field(default=1, ge=1)
    """Sources that must say the same."""
    max_risk: float = Field(default=1.0, ge=0, le=1)
    """Claims with a higher risk of a revert wait for an approval."""
    priority_days: float = 0.0
    """A claim is written as if it were so many days older."""
    volume_factor: float = Field(default=100.0, ge=0)
    """So many times its usual day freezes the source; 0: never."""
    volume_floor: int = Field(default=100, ge=1)
    """So many claims a day are never too many."""
    max_claims_per_day: int = Field(default=0, ge=0)
    """More claims a day freeze the source; 0: any number."""

    def ready(self) -> None:
        """Check the files that the table names. Raises: BadConfig: one cannot be read."""

    def terms(self, name: str) -> Terms:
        """The terms under which its claims are accepted."""
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
    """The keys that every source has that is read over HTTP."""

    contact: str = ""
    """Your mail address or URL, for the user agent."""
    timeout_seconds: float = Field(default=30.0, gt=0)
    """Time for a whole request."""
    max_bytes: int = Field(default=32 * 1024 * 1024, ge=1)
    """Largest answer."""
    max_pages: int = Field(default=100, ge=1)
    """Pages of one pull, at most."""
    attempts: int = Field(default=3, ge=1, le=10)
    """Attempts at one request."""
    retry_wait_seconds: float = Field(default=1.0, gt=0)
    """Wait before the second attempt; it grows."""
    retry_after_seconds: float = Field(default=60.0, ge=0)
    """A longer Retry-After ends the pull."""
    requests_per_minute: float = Field(default=120.0, gt=0)
    """Requests a minute, at most."""
    allow_networks: tuple[str, ...] = ()
    """Private networks that may be reached, like "10.1.0.0/16"."""
    token_file: Path | None = None
    """A file that holds a Bearer token."""

    def ready(self) -> None:
        """Check the token's file. Raises: BadConfig: it cannot be read."""
        self.limits("")

    def limits(self, version: str) -> Limits:
        """The limits for the HTTP client. Raises: BadConfig."""
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
    """Claims of a source, and everything that is stored in the same transaction."""

    lines: Iterable[ParsedLine | BadLine]
    cursor: Mapping[str, Any] | None  # None: the stored cursor stays
    receipt: Receipt
    seen: Mapping[str, str] = field(
        default_factory=dict
    )  # keys of items -> the state in which they were read
    points: Mapping[str, Sequence[str]] = field(
        default_factory=dict
    )  # another source -> items that it should read
    looked_at: Sequence[str] = ()  # items that this source was pointed to, now read
    deliveries: Sequence[int] = ()  # ids of the webhook bodies that these lines come from


SourcePages = Generator[SourcePage, IngestReport, None]


@dataclass(frozen=True, kw_only=True)
class SourceTools:
    """The tools of a source: clock, catalogue, client, and queries about its own items."""

    name: str  # of the source
    now: Callable[[], datetime]
    catalogue: Catalogue
    languages: tuple[str, ...]  # languages that are written or served
    client: Callable[[RemoteSettings], Client]
    seen: Callable[[Iterable[str]], dict[str, str]]  # keys -> the states that were stored
    pointers: Callable[[int], list[str]]  # the oldest items that other sources pointed to
    claimed: Callable[[str, str], list[Fact]]  # (source, subject id) -> not taken back
    facts: Callable[[Iterable[str]], list[Fact]]  # by id
    seen_all: Callable[[str], dict[str, str]]  # states of the items whose keys begin so
    deliveries: Callable[[int, int], list[Delivery]]  # (after, limit)


class SourceReader(Protocol):
    """The function `pages` of a source's file."""

    def __call__(self, settings: Any, cursor: Mapping[str, Any], tools: SourceTools) -> SourcePages:
        """What is new since a cursor, one bounded pull. Raises: SourceFailed."""
        ...


def receipt_of(answer: HttpAnswer, at: datetime) -> Receipt:
    """The receipt for claims from an HTTP response. at: when it was requested."""
    digest = hashlib.sha256(answer.body).hexdigest()
    return Receipt(file=shown_url(answer.url), retrieved_at=at, payload_hash=digest)


def withdrawal(fact: Fact, revision: str, at: datetime) -> FactUpdate:
    """An update with which a source takes its claim back."""
    claim = fact.update
    event_time = max(at, claim.event_time)
    return replace(claim, revision=revision, event_time=event_time, withdrawn=True)


@dataclass(frozen=True, kw_only=True)
class PullResult:
    """The counts of one pull."""

    source: str
    files: int = 0  # files, or pages
    lines: int = 0
    new: int = 0
    bad: int = 0
    why: str = ""  # why the source was not read, or not to the end

    def as_json(self) -> dict[str, Any]:
        """The result for `--json`."""
        return {
            "source": self.source,
            "files": self.files,
            "lines": self.lines,
            "new": self.new,
            "bad": self.bad,
            "why": self.why or None,
        }
