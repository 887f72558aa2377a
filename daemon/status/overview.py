"""How factd stands, on one screen: the live release, the queue, sources, servers, the last runs.

`factd status`, the console's first page and its API show the same overview.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from factd.daemon.approvals.doubts import waiting
from factd.daemon.artefacts.versions import Versions
from factd.daemon.config.run_tables import ApprovalsTable
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.planning import limits
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.status.servers import ServerLine, server_lines, server_text
from factd.store import operations, queries, views
from factd.store.model.bases import Base
from factd.store.model.facts import FactStatus
from factd.store.model.operations import Task, Worker
from factd.store.model.releases import Flag, Release, Run
from factd.store.model.sources import SourceState
from factd.store.views.overviews import CandidateLine, ReleaseLine

RUNS_SHOWN = 8


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How many facts the edited layers hold, and how many more they can take."""

    capacity: int  # facts that a release may hold, [planning] capacity
    used: int  # facts of the live release
    pending: int  # facts that wait to be written
    today: Mapping[str, tuple[int, int]]  # by limit: used today (UTC), allowed a day

    @property
    def left(self) -> int:
        """Facts that can still be written."""
        return max(0, self.capacity - self.used)


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What an operator looks at first."""

    at: datetime
    live: ReleaseLine | None
    published: int | None  # the version that `current` points to
    frozen: Flag | None
    base: Base | None  # the base of the live release; None: the original model
    facts: Mapping[str, int]  # by status
    budget: Budget
    waiting: tuple[ReleaseLine, ...]  # releases that wait for an approval
    candidate: CandidateLine | None  # the newest
    sources: tuple[SourceState, ...]
    servers: tuple[ServerLine, ...]
    tasks: tuple[Task, ...]  # waiting or running
    workers: tuple[Worker, ...]
    runs: tuple[Run, ...]  # newest first


def overview(
    ledger: Ledger,
    versions: Versions,
    planning: PlanningRules,
    fleet: Fleet,
    approvals: ApprovalsTable,
) -> Overview:
    """The overview of this moment, from a handful of short queries."""
    to_approve = [release.number for release in waiting(ledger, approvals)]
    with ledger.read() as session:
        counts = queries.facts.counts(session)
        live = views.overviews.live(session)
        base = queries.bases.lineage(session, live.base if live else 0)[:1]
        used, capacity = live.facts if live else 0, planning.batch.capacity
        pending = counts[FactStatus.PENDING]
        used_today = limits.usage_today(session, planning.limits, ledger.now())
        today = limits.limited_counts(planning.limits, used_today)
        return Overview(
            at=ledger.now(),
            live=live,
            published=versions.current(),
            frozen=queries.releases.frozen(session),
            base=next(iter(base), None),
            facts=counts,
            budget=Budget(capacity=capacity, used=used, pending=pending, today=today),
            waiting=tuple(views.overviews.release(session, number) for number in to_approve),
            candidate=next(iter(views.overviews.candidates(session, limit=1)), None),
            sources=tuple(queries.sources.source_states(session)),
            servers=server_lines(fleet, session),
            tasks=tuple(operations.tasks.open_tasks(session)),
            workers=tuple(operations.tasks.workers(session)),
            runs=tuple(operations.runs.last_runs(session, limit=RUNS_SHOWN)),
        )


def overview_json(overview: Overview, live: Release | None) -> dict[str, Any]:
    """The document of `factd status --json`. live: the live release with the ids of its facts."""
    newest, frozen, budget = overview.candidate, overview.frozen, overview.budget
    candidate = (
        {"id": newest.id, "status": newest.status.value, "reasons": newest.reasons}
        if newest
        else None
    )
    return {
        "live": live.as_json() if live else None,
        "published": overview.published,
        "facts": dict(overview.facts),
        "budget": {
            "capacity": budget.capacity,
            "used": budget.used,
            "left": budget.left,
            "today": budget.today,
        },
        "base": overview.base.as_json() if overview.base else None,
        "frozen": frozen.why if frozen else None,
        "waiting": [release.number for release in overview.waiting],
        "last_candidate": candidate,
        "sources": [source.as_json() for source in overview.sources],
        "servers": [server.as_json() for server in overview.servers],
        "runs": [run.as_json() for run in overview.runs],
    }


def overview_lines(overview: Overview) -> list[str]:
    """The overview for the terminal."""
    live, newest, budget = overview.live, overview.candidate, overview.budget
    release = f"release {live.number}, {live.facts} facts, {live.why}" if live else "nothing"
    counts = ", ".join(f"{count} {name}" for name, count in overview.facts.items() if count)
    published = overview.published if overview.published is not None else "none"
    lines = [f"live      {release}", f"published version {published}", f"facts     {counts}"]
    lines += [f"budget    {budget.left} of {budget.capacity} facts left"]
    lines += [f"today     {used} of {most} {name}" for name, (used, most) in budget.today.items()]
    lines += [f"base      {overview.base.describe()}"] if overview.base else []
    lines += [f"frozen    {overview.frozen.why}"] if overview.frozen else []
    lines += [f"waits     release {r.number}: `factd approve {r.number}`" for r in overview.waiting]
    if newest:
        lines += [f"candidate {newest.id} {newest.status.value} {'; '.join(newest.reasons)}"]
    lines += [f"source    {source_line(source)}" for source in overview.sources]
    lines += [f"server    {server_text(server)}" for server in overview.servers]
    return lines + [
        f"run       {r.job} {r.status.value} {r.started_at:%Y-%m-%d %H:%M:%S} {r.detail}"
        for r in overview.runs
    ]


def source_line(state: SourceState) -> str:
    """A source in one line: its last good pull, whether it is frozen, and the failures since."""
    last = f"{state.succeeded_at:%Y-%m-%d %H:%M}" if state.succeeded_at else "never"
    parts = [f"{state.name:<16} last good pull {last}"]
    parts += [f"FROZEN {state.frozen}"] if state.frozen else []
    parts += [f"{state.failures} failures in a row: {state.error}"] if state.failures else []
    return "; ".join(parts)
