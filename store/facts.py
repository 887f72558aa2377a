"""Facts, pure: what a source claims, what a version of a fact is, and which of several claims holds.

Which claim is current is a function of the set of claims and the day, never of the order in which they came.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any


class FactStatus(StrEnum):
    """Where a fact version stands."""

    KNOWN = "known"  # current, and the base model holds it: never written
    PENDING = "pending"  # current, waits to be written
    ACTIVE = "active"  # current, in the live release
    FUTURE = "future"  # becomes valid on a later day
    EXPIRED = "expired"  # its last day is over
    SUPERSEDED = "superseded"  # a newer claim holds
    CONFLICTING = (
        "conflicting"  # another source says something else with the same times: none is written
    )
    WITHDRAWN = "withdrawn"  # taken back by an operator or its source


CURRENT = (FactStatus.KNOWN, FactStatus.PENDING, FactStatus.ACTIVE)
WRITTEN = (FactStatus.PENDING, FactStatus.ACTIVE)


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A thing with its names per language (BCP 47)."""

    id: str
    labels: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def names(self, language: str) -> tuple[str, ...]:
        """Label and aliases in one language, the label first; empty where it has none."""
        label = self.labels.get(language)
        return (label, *self.aliases.get(language, ())) if label else ()

    def as_json(self) -> dict[str, Any]:
        """As in the ingest format."""
        aliases = {k: list(v) for k, v in sorted(self.aliases.items()) if v}
        return {"id": self.id, "labels": dict(sorted(self.labels.items())), "aliases": aliases}


@dataclass(frozen=True, kw_only=True)
class FactUpdate:
    """What one source claims."""

    source: str
    revision: str  # the source's own
    event_time: datetime  # on the source's clock, with its zone
    subject: Entity
    relation: str
    object: Entity
    valid_from: date | None = None  # None: since ever
    valid_to: date | None = None  # the first day it no longer holds; None: still does

    @property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all of it: the same claim has the same id wherever it comes from."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]

    def as_json(self) -> dict[str, Any]:
        """In the ingest format."""
        return {
            "source": self.source,
            "revision": self.revision,
            "event_time": self.event_time.astimezone(UTC).isoformat(),
            "subject": self.subject.as_json(),
            "relation": self.relation,
            "object": self.object.as_json(),
            "valid_from": self.valid_from.isoformat() if self.valid_from else None,
            "valid_to": self.valid_to.isoformat() if self.valid_to else None,
        }


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One version of one association, with status and provenance."""

    id: str
    update: FactUpdate
    status: FactStatus
    observed_at: datetime
    known: bool  # the base model holds it
    reason: str  # why it has its status, for people

    @property
    def subject(self) -> Entity:
        """What it is about."""
        return self.update.subject

    @property
    def relation(self) -> str:
        """Id of the relation."""
        return self.update.relation

    @property
    def object(self) -> Entity:
        """What holds of the subject."""
        return self.update.object

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        about = {
            "id": self.id,
            "status": self.status.value,
            "reason": self.reason,
            "known": self.known,
        }
        return {**about, "observed_at": self.observed_at.isoformat(), **self.update.as_json()}


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The status that a version has among the others of its subject and relation."""

    status: FactStatus
    reason: str = ""


def rank(fact: Fact) -> tuple[bool, date, datetime]:
    """Newer in the world, then on the source's clock; what the base model holds comes last."""
    return (not fact.known, fact.update.valid_from or date.min, fact.update.event_time)


def standings(versions: Iterable[Fact], today: date, *, many: bool = False) -> dict[str, Standing]:
    """The status of every version of one subject and relation, by id; a pure function of the set and the day.

    many: the relation holds several objects at a time, so that only versions of one object compete.
    """
    found: dict[str, Standing] = {}
    running: list[Fact] = []
    for fact in versions:
        valid_from, valid_to = fact.update.valid_from, fact.update.valid_to
        if fact.status is FactStatus.WITHDRAWN:
            found[fact.id] = Standing(status=fact.status, reason=fact.reason)
        elif valid_from and valid_from > today:
            found[fact.id] = Standing(status=FactStatus.FUTURE, reason=f"holds from {valid_from}")
        elif valid_to and valid_to <= today:
            found[fact.id] = Standing(status=FactStatus.EXPIRED, reason=f"held until {valid_to}")
        else:
            running.append(fact)
    groups: dict[str, list[Fact]] = {}
    for fact in running:
        groups.setdefault(fact.object.id if many else "", []).append(fact)
    for group in groups.values():
        found |= _settled(group)
    return found


def _settled(running: list[Fact]) -> dict[str, Standing]:
    """One holds, or the best ones contradict each other and the next best holds."""
    found: dict[str, Standing] = {}
    left = sorted(running, key=lambda fact: (rank(fact), fact.id), reverse=True)
    while left:
        best = [fact for fact in left if rank(fact) == rank(left[0])]
        left = left[len(best) :]
        if len({fact.object.id for fact in best}) > 1:
            ids = " and ".join(sorted(fact.id for fact in best))
            reason = f"{ids} say different things with the same times"
            found |= {f.id: Standing(status=FactStatus.CONFLICTING, reason=reason) for f in best}
            continue
        holds = best[0]
        base = next((fact for fact in left if fact.known), None)
        known = holds.known or (base is not None and base.object.id == holds.object.id)
        found[holds.id] = Standing(
            status=FactStatus.KNOWN
            if known
            else FactStatus.ACTIVE
            if holds.status is FactStatus.ACTIVE
            else FactStatus.PENDING
        )
        older = Standing(status=FactStatus.SUPERSEDED, reason=f"superseded by {holds.id}")
        found |= {fact.id: older for fact in (*best[1:], *left)}
        break
    return found
