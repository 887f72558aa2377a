"""What is looked at to find what people should know, pure: small, whatever the number of facts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from factd.store.model.releases import Flag, RunStatus


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """A candidate that was rejected, without its facts and report."""

    id: int
    batch_id: str
    reasons: tuple[str, ...]
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class Aside:
    """A fact that was set aside, without the evidence."""

    fact_id: str
    candidate_id: int | None
    reason: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A source that is frozen, or fails."""

    name: str
    frozen: str  # why; empty: it is not
    failures: int  # in a row
    error: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """A line of the audit log."""

    id: int
    at: datetime
    who: str
    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Looked:
    """An audit of a live release, without its report."""

    id: int
    release: int
    outcome: str
    action: str
    reasons: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Death:
    """A worker that died or ran out of memory."""

    task_id: int
    cause: str
    facts: int  # that it had in hand
    detail: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A run that is over."""

    status: RunStatus
    detail: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Serving:
    """The live release, without its facts."""

    number: int
    candidate_id: int | None
    facts: int
    why: str
    live_at: datetime | None
    leverage: float | None = None  # the highest of its layers, 0 (free) to 1 (used up)


@dataclass(frozen=True, kw_only=True)
class Behind:
    """A server whose last hand-over was given up, or goes on failing."""

    server: str
    handover: int
    release: int
    given_up: bool
    attempts: int
    error: str
    restored: bool | None


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """How factd stands."""

    now: datetime
    frozen: Flag | None = None
    rejected: Rejected | None = None  # the newest, where none was accepted after it
    under_way: bool = False  # an edit is being made
    set_aside: tuple[Aside, ...] = ()  # the newest first
    sources: tuple[Watched, ...] = ()
    done: tuple[Done, ...] = ()  # rollbacks, the newest first
    audit: Looked | None = None  # the last one
    deaths: tuple[Death, ...] = ()  # the newest first
    live: Serving | None = None
    runs: Mapping[str, tuple[Ended, ...]] = field(default_factory=dict)  # by job, the newest first
    waiting: tuple[int, ...] = ()  # releases that wait for an operator
    behind: tuple[Behind, ...] = ()  # servers
    limit: str = ""  # that was reached; empty: none
    still_baked: tuple[str, ...] = ()  # facts in the base's weights that do not hold any more
    told: frozenset[str] = frozenset()  # keys of open notices
