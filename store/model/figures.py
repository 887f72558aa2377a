"""What the database says at one moment, in a few numbers: for metrics, read by store/views/figures.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from factd.store.model.operations import Lease
from factd.store.model.releases import Flag
from factd.store.model.sources import SourceState


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Things of one kind that wait, and since when the oldest does."""

    count: int = 0
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LiveFigures:
    """The live release."""

    number: int
    candidate_id: int | None
    facts: int  # of its delta: those that were baked into its base do not count
    live_at: datetime | None
    base: int = 0  # that it was computed on


@dataclass(frozen=True, kw_only=True)
class AuditFigures:
    """Audits of live releases, and the last one."""

    outcomes: Mapping[str, int] = field(default_factory=dict)
    last_at: datetime | None = None
    last_failed: bool = False
    last_lost: int = 0  # facts


@dataclass(frozen=True, kw_only=True)
class WorkerFigures:
    """The processes that load models, and their tasks."""

    alive: int = 0  # seen of late
    seen_at: datetime | None = None  # the newest sign of life of any
    tasks: Mapping[tuple[str, str], int] = field(default_factory=dict)  # (kind, status), open ones
    waiting_since: datetime | None = None  # the oldest task that waits
    silent_since: datetime | None = None  # the oldest sign of life among those that work
    deaths: Mapping[str, int] = field(default_factory=dict)  # of late, by cause


@dataclass(frozen=True, kw_only=True)
class ServerFigures:
    """A server that releases are handed to."""

    name: str
    release: int | None = None  # that it serves; None: not known
    seen_at: datetime | None = None
    behind_since: datetime | None = None  # it does not serve the live release; None: it does
    failed: bool = False  # its last hand-over was given up
    attempts: int = 0  # at the hand-over that is under way
    handovers: Mapping[str, int] = field(default_factory=dict)  # by status


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All of it."""

    facts: Mapping[str, int]  # by status
    queue_since: datetime | None  # the oldest of those that are written next
    candidates: Mapping[str, int]  # by status
    live: LiveFigures | None
    releases_waiting: Waiting  # accepted, newer than the live one, with no operator's word yet
    frozen: Flag | None
    running: Mapping[str, datetime]  # step -> since when
    succeeded: Mapping[str, datetime]  # step -> end of the last run that was done
    sources: tuple[SourceState, ...]
    set_aside: int
    audits: AuditFigures
    workers: WorkerFigures
    leases: tuple[Lease, ...]
    notices_open: int
    dispatches: Mapping[str, int]  # by status
    servers: tuple[ServerFigures, ...]
    today: Mapping[str, int]  # what was done since midnight, UTC: edits, facts, publishes
