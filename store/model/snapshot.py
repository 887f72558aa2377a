"""A small summary of how factd stands, from which notices for operators are derived.

The snapshot stays small whatever the number of facts: it holds no fact ids of releases and no
reports. It is read by `factd.store.views.snapshots`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from factd.store.model.operations import AuditLogEntry
from factd.store.model.releases import Flag, RunStatus


@dataclass(frozen=True, kw_only=True)
class RejectedCandidate:
    """A candidate that was rejected, without its facts and report."""

    id: int
    batch_id: str
    reasons: tuple[str, ...]
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class QuarantineEntry:
    """A fact that was set aside, without the evidence against it."""

    fact_id: str
    candidate_id: int | None
    reason: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class TroubledSource:
    """A source that is frozen or that fails."""

    name: str
    frozen: str  # the reason; empty if the source is not frozen
    failures: int  # in a row
    error: str


@dataclass(frozen=True, kw_only=True)
class AuditSummary:
    """An audit of a live release, without its report."""

    id: int
    release: int
    outcome: str
    action: str
    reasons: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, kw_only=True)
class WorkerDeath:
    """A worker that died or ran out of memory."""

    task_id: int
    cause: str
    facts: int  # number of facts that the worker was working on
    detail: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class FinishedRun:
    """A run of a job that has ended."""

    status: RunStatus
    detail: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class LiveReleaseSummary:
    """The live release, without its fact ids."""

    number: int
    candidate_id: int | None
    facts: int
    why: str
    live_at: datetime | None
    leverage: float | None = None  # the highest of its layers, from 0 (free) to 1 (used up)


@dataclass(frozen=True, kw_only=True)
class LaggingServer:
    """A server whose newest hand-over was given up or keeps failing."""

    server: str
    handover: int
    release: int
    given_up: bool
    attempts: int
    error: str
    restored: bool | None  # see `Handover.restored`


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """How factd stands at one moment. Tuples of entries begin with the newest one."""

    now: datetime
    frozen: Flag | None = None
    rejected: RejectedCandidate | None = None  # the newest one, unless one was accepted after it
    edit_in_progress: bool = False
    quarantined: tuple[QuarantineEntry, ...] = ()
    troubled_sources: tuple[TroubledSource, ...] = ()  # by name
    rollbacks: tuple[AuditLogEntry, ...] = ()
    last_audit: AuditSummary | None = None
    worker_deaths: tuple[WorkerDeath, ...] = ()
    live: LiveReleaseSummary | None = None
    runs: Mapping[str, tuple[FinishedRun, ...]] = field(default_factory=dict)  # by job
    waiting_releases: tuple[int, ...] = ()  # numbers of releases that wait for an operator
    lagging_servers: tuple[LaggingServer, ...] = ()
    reached_limit: str = ""  # a sentence about today's limit; empty if no limit is reached
    still_baked: tuple[str, ...] = ()  # ids of facts in the base's weights that no longer hold
    open_notice_keys: frozenset[str] = frozenset()
