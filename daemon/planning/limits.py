"""How much a day may bring, in UTC: a source gone wild cannot rewrite a model overnight."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from factd.daemon.config.run_tables import LimitsTable
from factd.daemon.config.tables import PlanningTable, ScreenTable
from factd.store import queries


@dataclass(frozen=True, kw_only=True)
class PlanningRules:
    """What goes into a batch, when, and how much a day may bring."""

    batch: PlanningTable
    limits: LimitsTable
    screen: ScreenTable


@dataclass(frozen=True, kw_only=True)
class Used:
    """What a day has brought so far."""

    edits: int  # candidates, also rejected ones
    facts: int  # that came with releases which went live
    publishes: int  # releases that went live


def midnight(now: datetime) -> datetime:
    """When this day began, UTC."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def used(session: Session, table: LimitsTable, now: datetime) -> Used:
    """What today has brought so far; zeros where nothing is limited."""
    if not (table.edits_per_day or table.facts_per_day or table.publishes_per_day):
        return Used(edits=0, facts=0, publishes=0)
    since = midnight(now)
    out = [r for r in queries.releases.releases_since(session, since) if r.live_at is not None]
    before = queries.releases.last_before(session, since)
    held, facts = set(queries.bases.facts_in_weights(session, before) if before else ()), 0
    for release in sorted(out, key=lambda found: found.number):
        facts += len(set(release.fact_ids) - held)
        held |= set(release.fact_ids)
    today = [release for release in out if release.live_at and release.live_at >= since]
    edits = queries.releases.count_candidates(session, since=since)
    return Used(edits=edits, facts=facts, publishes=len(today))


def reached(table: LimitsTable, spent: Used) -> str:
    """Why nothing more is written today; empty where something may be."""
    for name, (count, most) in allowances(table, spent).items():
        if count >= most:
            return f"the limit of {most} {name} a day is reached; goes on at 00:00 UTC"
    return ""


def allowances(table: LimitsTable, spent: Used) -> dict[str, tuple[int, int]]:
    """What today has brought and what it may bring, by name, where it is limited."""
    every = {
        "edits": (spent.edits, table.edits_per_day),
        "facts": (spent.facts, table.facts_per_day),
        "publishes": (spent.publishes, table.publishes_per_day),
    }
    return {name: (count, most) for name, (count, most) in every.items() if most}


def facts_left(table: LimitsTable, spent: Used) -> int | None:
    """New facts that today may still bring; None: no limit."""
    return max(0, table.facts_per_day - spent.facts) if table.facts_per_day else None
