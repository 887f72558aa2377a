"""How much a day may bring, in UTC.

Limits stop a source that goes wrong from rewriting a model overnight.
"""

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
class DayUsage:
    """What a day has brought so far."""

    edits: int  # candidates, rejected ones included
    facts: int  # new facts of the releases that went live
    publishes: int  # releases that went live


def midnight(now: datetime) -> datetime:
    """When this day began, in UTC."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def usage_today(session: Session, table: LimitsTable, now: datetime) -> DayUsage:
    """What today has brought so far. It is not counted if nothing is limited."""
    if not (table.edits_per_day or table.facts_per_day or table.publishes_per_day):
        return DayUsage(edits=0, facts=0, publishes=0)
    since = midnight(now)
    released = [r for r in queries.releases.releases_since(session, since) if r.live_at is not None]
    before = queries.releases.last_before(session, since)
    in_weights = set(queries.bases.facts_in_weights(session, before) if before else ())
    facts = 0
    for release in sorted(released, key=lambda release: release.number):
        facts += len(set(release.fact_ids) - in_weights)
        in_weights |= set(release.fact_ids)
    today = [release for release in released if release.live_at and release.live_at >= since]
    edits = queries.releases.count_candidates(session, since=since)
    return DayUsage(edits=edits, facts=facts, publishes=len(today))


def reached_limit(table: LimitsTable, usage: DayUsage) -> str:
    """The sentence about a limit of today that is reached. Empty if none is."""
    for name, (count, most) in limited_counts(table, usage).items():
        if count >= most:
            return f"the limit of {most} {name} a day is reached; goes on at 00:00 UTC"
    return ""


def limited_counts(table: LimitsTable, usage: DayUsage) -> dict[str, tuple[int, int]]:
    """Name -> (what today has brought, what today may bring), for everything that is limited."""
    counts = {
        "edits": (usage.edits, table.edits_per_day),
        "facts": (usage.facts, table.facts_per_day),
        "publishes": (usage.publishes, table.publishes_per_day),
    }
    return {name: (count, most) for name, (count, most) in counts.items() if most}


def facts_left(table: LimitsTable, usage: DayUsage) -> int | None:
    """How many new facts today may still bring. None: no limit."""
    return max(0, table.facts_per_day - usage.facts) if table.facts_per_day else None
