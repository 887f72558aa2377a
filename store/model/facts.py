"""Facts, pure: what a source claims, how the claim reached us, and what a version of a fact is.

Which of several claims holds is in `factd.store.model.resolution`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from math import log1p
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
    SOAKING = "soaking"  # too new on its source's clock
    UNPROVEN = "unproven"  # lacks references or sources, or was scored risky: waits for them or for an approval
    REJECTED = "rejected"  # a gate or an operator refused this value; it is not proposed again
    NOTICE = "notice"  # no claim: a source's word that it takes one back


class Change(StrEnum):
    """What a version changes in the base model's world."""

    REPLACEMENT = "replacement"  # another object than the base's
    ASSOCIATION = "association"  # the base's subject and relation had no object
    ARCHIVAL = "archival"  # the object ended and no other is known: nothing to write
    NONE = "none"  # the base holds it, or it is not current


class Asked(StrEnum):
    """What the base model said when it was asked about a fact."""

    NOT = ""  # it was not asked
    KNOWN = "known"  # the same, in every wording and written language
    OTHER = "other"
    UNKNOWN_SUBJECT = "unknown subject"  # it does not know the name: an edit would be an insertion


class Ruling(StrEnum):
    """What an operator, or a gate, decided about a value: a subject, relation and object, whoever claims it."""

    PINNED = "pinned"  # holds, whatever else is claimed
    APPROVED = "approved"  # needs no soak, references, second source
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"


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
    withdrawn: bool = False  # the source takes back what it said of this value until event_time
    references: int | None = None  # that the source gives for it; None: it does not say
    risk: float | None = (
        None  # 0 to 1, that the revision will be reverted, by the source's own score
    )
    demand: float = 0.0  # how often it is asked for, in any unit that is the same everywhere

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of all of it: the same claim has the same id wherever it comes from.

        Scores that change by themselves (risk, demand) are left out.
        """
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def pair(self) -> tuple[str, str]:
        """Subject and relation."""
        return self.subject.id, self.relation

    def as_json(self) -> dict[str, Any]:
        """In the ingest format."""
        more: dict[str, Any] = {"withdrawn": True} if self.withdrawn else {}
        more |= {"references": self.references} if self.references is not None else {}
        return {
            "source": self.source,
            "revision": self.revision,
            "event_time": self.event_time.astimezone(UTC).isoformat(),
            "subject": self.subject.as_json(),
            "relation": self.relation,
            "object": self.object.as_json(),
            "valid_from": self.valid_from.isoformat() if self.valid_from else None,
            "valid_to": self.valid_to.isoformat() if self.valid_to else None,
            **more,
        }


@dataclass(frozen=True, kw_only=True)
class Terms:
    """On what terms the claims of one channel are taken; a channel is a configured source, or the command line."""

    channel: str = "cli"
    trust: int = 50  # 0 to 100
    licence: str = ""
    soak: timedelta = timedelta(0)  # on the source's clock, before a claim counts
    min_references: int = 0
    needs_sources: int = 1  # that say the same before it counts
    max_risk: float = 1.0
    priority: float = 0.0  # in days: how much earlier than its age says

    def hold(self, update: FactUpdate) -> str:
        """Why a claim waits for an approval; empty where it does not."""
        if update.references is not None and update.references < self.min_references:
            return f"{update.references} references, {self.channel} needs {self.min_references}"
        if update.references is None and self.min_references:
            return f"no word of references, {self.channel} needs {self.min_references}"
        if update.risk is not None and update.risk > self.max_risk:
            return f"revert risk {update.risk:.2f}, {self.channel} allows {self.max_risk:.2f}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Which payload brought claims."""

    file: str  # name of the file or URL without its query
    retrieved_at: datetime
    payload_hash: str = ""  # SHA-256 of what was fetched; empty: it was read line by line


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a claim reached us, and what was asked of it then."""

    channel: str = "cli"
    trust: int = 50
    licence: str = ""
    file: str = ""
    line: int = 0
    retrieved_at: datetime | None = None
    payload_hash: str = ""
    soak_until: datetime | None = None
    needs_sources: int = 1
    hold: str = ""  # why it waits for an approval

    @classmethod
    def of(cls, update: FactUpdate, line: int, terms: Terms, receipt: Receipt) -> "Provenance":
        """What is noted about a claim when it is stored."""
        return cls(
            channel=terms.channel,
            trust=terms.trust,
            licence=terms.licence,
            file=receipt.file,
            line=line,
            retrieved_at=receipt.retrieved_at,
            payload_hash=receipt.payload_hash,
            soak_until=update.event_time + terms.soak if terms.soak else None,
            needs_sources=terms.needs_sources,
            hold=terms.hold(update),
        )

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "channel": self.channel,
            "trust": self.trust,
            "licence": self.licence,
            "file": self.file,
            "line": self.line,
            "retrieved_at": self.retrieved_at.isoformat() if self.retrieved_at else None,
            "payload_hash": self.payload_hash,
            "soak_until": self.soak_until.isoformat() if self.soak_until else None,
        }


def turn(update: FactUpdate, terms: Terms, now: datetime) -> float:
    """When a fact's turn comes among those that wait, in days: older claims, preferred sources, what is asked for first.

    All waiting facts age alike, so that the number never changes and an index can hold it.
    """
    return round(now.timestamp() / 86400 - terms.priority - log1p(max(0.0, update.demand)), 6)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A ruling with its reason."""

    ruling: Ruling
    why: str
    who: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One version of one association, with status and provenance."""

    id: str
    update: FactUpdate
    status: FactStatus
    observed_at: datetime
    known: bool  # the base model holds it
    reason: str  # why it has its status, for people
    provenance: Provenance = Provenance()
    change: Change = Change.NONE
    asked: Asked = Asked.NOT
    due_at: datetime | None = None  # when time alone may change its status
    turn: float = 0.0  # among those that wait, the smallest first
    baked_in: int | None = None  # the base that holds it, of those that the live release stands on

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
        return {
            "id": self.id,
            "status": self.status.value,
            "reason": self.reason,
            "change": self.change.value,
            "known": self.known,
            "base_said": self.asked or None,
            "baked_in": self.baked_in,
            "observed_at": self.observed_at.isoformat(),
            "provenance": self.provenance.as_json(),
            **self.update.as_json(),
        }
