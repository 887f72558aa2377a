"""Numbers about the whole database at one moment, for metrics.

`factd.store.views.figures` reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from factd.store.model.operations import Lease
from factd.store.model.releases import Flag
from factd.store.model.sources import SourceState


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """Waiting items of one kind: how many, and since when the oldest one waits."""

    count: int = 0
    since: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LiveFigures:
    """Numbers about the live release."""

    number: int
    candidate_id: int | None
    facts: int  # in its delta; facts that were baked into its base are not counted
    live_at: datetime | None
    base: int = 0  # the base that the release was computed on


@dataclass(frozen=True, kw_only=True)
class AuditFigures:
    """Numbers about the audits of live releases, and about the newest audit."""

    outcomes: Mapping[str, int] = field(default_factory=dict)  # outcome -> number of audits
    last_at: datetime | None = None
    last_failed: bool = False
    last_lost: int = 0  # facts that the newest audit no longer found


@dataclass(frozen=True, kw_only=True)
class WorkerFigures:
    """Numbers about the processes that load models, and about their tasks."""

    alive: int = 0  # workers seen within the last minute
    seen_at: datetime | None = None  # the newest sign of life of any worker
    tasks: Mapping[tuple[str, str], int] = field(default_factory=dict)  # open: (kind, status)
    waiting_since: datetime | None = None  # creation of the oldest waiting task
    silent_since: datetime | None = None  # the oldest sign of life among workers with a task
    deaths: Mapping[str, int] = field(default_factory=dict)  # in the last hour, by cause


@dataclass(frozen=True, kw_only=True)
class ServerFigures:
    """Numbers about a server that releases are handed to."""

    name: str
    release: int | None = None  # that the server serves; None: not known
    seen_at: datetime | None = None
    behind_since: datetime | None = None  # None: the server serves the live release
    failed: bool = False  # its newest hand-over was given up
    attempts: int = 0  # at the open hand-over
    handovers: Mapping[str, int] = field(default_factory=dict)  # by status


@dataclass(frozen=True, kw_only=True)
class Figures:
    """All numbers about the database at one moment."""

    facts: Mapping[str, int]  # by status
    queue_since: datetime | None  # the oldest change among the facts that are written next
    candidates: Mapping[str, int]  # by status
    live: LiveFigures | None
    releases_waiting: Backlog  # accepted, newer than the live one, no operator has decided yet
    frozen: Flag | None
    running: Mapping[str, datetime]  # step -> start of its current run
    succeeded: Mapping[str, datetime]  # step -> end of its last successful run
    sources: tuple[SourceState, ...]
    set_aside: int
    audits: AuditFigures
    workers: WorkerFigures
    leases: tuple[Lease, ...]
    notices_open: int
    dispatches: Mapping[str, int]  # by status
    servers: tuple[ServerFigures, ...]
    today: Mapping[str, int]  # counts since midnight, UTC: edits, facts, publishes
