"""How factd stands, on one screen: for `factd status`, the console's first page and its API."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from factd.daemon.approvals.doubts import waiting
from factd.daemon.artefacts.versions import Versions
from factd.daemon.config.run_tables import ApprovalsTable
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.planning import limits
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.status.servers import ServerLine, server_lines
from factd.store import operations, queries, views
from factd.store.model.bases import Base
from factd.store.model.facts import FactStatus
from factd.store.model.operations import Task, Worker
from factd.store.model.releases import Flag, Run
from factd.store.model.sources import SourceState
from factd.store.views.overviews import CandidateLine, ReleaseLine

RUNS = 8


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many facts the edited layers still hold."""

    capacity: int
    used: int  # by the live release
    pending: int  # facts that wait
    today: Mapping[str, tuple[int, int]]  # what the day (UTC) has brought and may bring, by name

    @property
    def left(self) -> int:
        """Facts that may come."""
        return max(0, self.capacity - self.used)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What an operator wants to know first."""

    at: datetime
    live: ReleaseLine | None
    published: int | None  # what the publisher serves
    frozen: Flag | None
    base: Base | None  # that the live release stands on; None: the original model
    facts: Mapping[str, int]  # by status
    budget: Budget
    waiting: tuple[ReleaseLine, ...]  # for an operator's word
    candidate: CandidateLine | None  # the newest
    sources: tuple[SourceState, ...]
    servers: tuple[ServerLine, ...]
    tasks: tuple[Task, ...]  # that wait or run
    workers: tuple[Worker, ...]
    runs: tuple[Run, ...]  # the newest first


def overview(
    ledger: Ledger,
    versions: Versions,
    planning: PlanningRules,
    fleet: Fleet,
    approvals: ApprovalsTable,
) -> Overview:
    """All of it; a handful of short queries."""
    held = [release.number for release in waiting(ledger, approvals)]
    with ledger.read() as session:
        counts = queries.facts.counts(session)
        live = views.overviews.live(session)
        base = queries.bases.lineage(session, live.base if live else 0)[:1]
        used, capacity = live.facts if live else 0, planning.batch.capacity
        pending = counts[FactStatus.PENDING]
        most = planning.limits
        today = limits.allowances(most, limits.used(session, most, ledger.now()))
        return Overview(
            at=ledger.now(),
            live=live,
            published=versions.current(),
            frozen=queries.releases.frozen(session),
            base=next(iter(base), None),
            facts=counts,
            budget=Budget(capacity=capacity, used=used, pending=pending, today=today),
            waiting=tuple(views.overviews.release(session, number) for number in held),
            candidate=next(iter(views.overviews.candidates(session, limit=1)), None),
            sources=tuple(queries.sources.source_states(session)),
            servers=server_lines(fleet, session),
            tasks=tuple(operations.tasks.open_tasks(session)),
            workers=tuple(operations.tasks.workers(session)),
            runs=tuple(operations.runs.last_runs(session, limit=RUNS)),
        )
