"""Facts: what a source claims, how the claim reached factd, and the resulting fact version.

Which of several claims holds is decided in `factd.store.model.resolution`.
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
    """The status of a fact version."""

    KNOWN = "known"  # current; the base model holds it, so it is never written
    PENDING = "pending"  # current; waits to be written
    ACTIVE = "active"  # current; in the live release
    FUTURE = "future"  # becomes valid on a later day
    EXPIRED = "expired"  # its last day is over
    SUPERSEDED = "superseded"  # another claim of the same subject and relation holds
    CONFLICTING = "conflicting"  # contradicts an equally good claim; neither is written
    WITHDRAWN = "withdrawn"  # taken back by an operator or by its source
    SOAKING = "soaking"  # too new on its source's clock
    UNPROVEN = "unproven"  # lacks references or sources, or is risky; waits for an approval
    REJECTED = "rejected"  # a gate or an operator refused this value; it is not proposed again
    NOTICE = "notice"  # not a claim: its source takes an earlier claim back


class Change(StrEnum):
    """What a version changes in comparison with the base model."""

    REPLACEMENT = "replacement"  # the base model holds another object
    ASSOCIATION = "association"  # the base model holds no object of this subject and relation
    ARCHIVAL = "archival"  # the object ended and no new one is known: there is nothing to write
    NONE = "none"  # the base model holds the fact, or the fact is not current


class BaseAnswer(StrEnum):
    """The base model's answer when it was asked about a fact."""

    NOT_ASKED = ""
    KNOWN = "known"  # it gives the fact's object in every wording and written language
    OTHER = "other"  # it gives another object
    UNKNOWN_SUBJECT = "unknown subject"  # it does not know the name; an edit would be an insertion


class Ruling(StrEnum):
    """What an operator or a gate decided about a value: a subject, relation and object.

    The ruling applies to every claim of the value, from any source.
    """

    PINNED = "pinned"  # holds, whatever else is claimed
    APPROVED = "approved"  # needs no soak, no references and no second source
    WITHDRAWN = "withdrawn"
    REJECTED = "rejected"


CURRENT = (FactStatus.KNOWN, FactStatus.PENDING, FactStatus.ACTIVE)
WRITTEN = (FactStatus.PENDING, FactStatus.ACTIVE)  # current facts that edits write


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A thing (subject or object) with its names in each language (BCP 47)."""

    id: str
    labels: Mapping[str, str]
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def names(self, language: str) -> tuple[str, ...]:
        """The label in one language, then the aliases; empty if there is no label."""
        label = self.labels.get(language)
        return (label, *self.aliases.get(language, ())) if label else ()

    def as_json(self) -> dict[str, Any]:
        """The entity in the ingest format."""
        aliases = {k: list(v) for k, v in sorted(self.aliases.items()) if v}
        return {"id": self.id, "labels": dict(sorted(self.labels.items())), "aliases": aliases}


@dataclass(frozen=True, kw_only=True)
class FactUpdate:
    """One claim of one source."""

    source: str
    revision: str  # the source's own id of the revision
    event_time: datetime  # on the source's clock, with its zone
    subject: Entity
    relation: str
    object: Entity
    valid_from: date | None = None  # None: no known start
    valid_to: date | None = None  # the first day it no longer holds; None: no known end
    withdrawn: bool = False  # the source takes back its claims of this value up to event_time
    references: int | None = None  # number that the source gives; None: it gives no number
    risk: float | None = None  # 0 to 1: the source's own score that the revision is reverted
    demand: float = 0.0  # how often users ask for it, in one unit for all sources

    @cached_property
    def id(self) -> str:
        """16 hexadecimal digits of the SHA-256 of the claim's content.

        The same claim has the same id wherever it comes from. Scores that change by
        themselves (risk, demand) are left out.
        """
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def pair(self) -> tuple[str, str]:
        """(subject id, relation id)."""
        return self.subject.id, self.relation

    def as_json(self) -> dict[str, Any]:
        """The claim in the ingest format."""
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
    """The conditions under which a channel's claims are accepted.

    A channel is a configured source or the command line.
    """

    channel: str = "cli"
    trust: int = 50  # 0 to 100
    licence: str = ""
    soak: timedelta = timedelta(0)  # on the source's clock, before a claim counts
    min_references: int = 0
    needs_sources: int = 1  # sources that must claim the same value before it counts
    max_risk: float = 1.0
    priority: float = 0.0  # days by which its facts are written earlier than their age says

    def hold_reason(self, update: FactUpdate) -> str:
        """Why a claim waits for an operator's approval; empty if it need not wait."""
        if update.references is not None and update.references < self.min_references:
            return f"{update.references} references, {self.channel} needs {self.min_references}"
        if update.references is None and self.min_references:
            return f"no number of references, {self.channel} needs {self.min_references}"
        if update.risk is not None and update.risk > self.max_risk:
            return f"revert risk {update.risk:.2f}, {self.channel} allows {self.max_risk:.2f}"
        return ""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The payload that claims were read from."""

    file: str  # name of the file, or the URL without its query
    retrieved_at: datetime
    payload_hash: str = ""  # SHA-256 of the payload; empty if it was read line by line


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """How a claim reached factd, and the conditions that applied to it then."""

    channel: str = "cli"
    trust: int = 50
    licence: str = ""
    file: str = ""
    line: int = 0
    retrieved_at: datetime | None = None
    payload_hash: str = ""
    soak_until: datetime | None = None
    needs_sources: int = 1
    hold: str = ""  # why it waits for an operator's approval

    @classmethod
    def of(cls, update: FactUpdate, line: int, terms: Terms, receipt: Receipt) -> "Provenance":
        """The provenance that is stored with a claim."""
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
            hold=terms.hold_reason(update),
        )

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
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


def write_order(update: FactUpdate, terms: Terms, now: datetime) -> float:
    """The place of a fact among those that wait to be written, in days; the smallest comes first.

    Older claims, claims of preferred sources and facts that are often asked for come first. All
    waiting facts age alike, so the number never changes and an index can hold it.
    """
    return round(now.timestamp() / 86400 - terms.priority - log1p(max(0.0, update.demand)), 6)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A ruling with its reason, its author and its time."""

    ruling: Ruling
    why: str
    who: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A fact version: one claim with its status and provenance."""

    id: str
    update: FactUpdate
    status: FactStatus
    observed_at: datetime
    known: bool  # the original base model holds it
    reason: str  # why it has its status, for operators
    provenance: Provenance = Provenance()
    change: Change = Change.NONE
    base_answer: BaseAnswer = BaseAnswer.NOT_ASKED
    due_at: datetime | None = None  # the next moment when time alone may change its status
    write_order: float = 0.0  # among the facts that wait, the smallest is written first
    baked_in: int | None = None  # the base, or parent of the base, in effect that holds it

    @property
    def subject(self) -> Entity:
        """The thing that the fact is about."""
        return self.update.subject

    @property
    def relation(self) -> str:
        """Id of the relation."""
        return self.update.relation

    @property
    def object(self) -> Entity:
        """The thing that the fact states about the subject."""
        return self.update.object

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        return {
            "id": self.id,
            "status": self.status.value,
            "reason": self.reason,
            "change": self.change.value,
            "known": self.known,
            "base_said": self.base_answer or None,
            "baked_in": self.baked_in,
            "observed_at": self.observed_at.isoformat(),
            "provenance": self.provenance.as_json(),
            **self.update.as_json(),
        }
