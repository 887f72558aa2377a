"""The tables. Times are UTC with their zone; statuses are texts with CHECK constraints; JSON holds names per language."""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from store.bases import BaseStatus
from store.facts import FactStatus, Ruling
from store.measured import AuditOutcome
from store.releases import CandidateStatus, ReleaseStatus, RunStatus

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcTime(TypeDecorator[datetime]):
    """A time with its zone, stored in UTC; a naive one is refused (SQLite would lose the zone without a word)."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a time needs its zone: {value!r}")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """From the database."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class Base(DeclarativeBase):
    """Base of the tables."""

    metadata = MetaData(naming_convention=NAMING)


FOLDED = String().with_variant(
    String(collation="C"), "postgresql"
)  # so that an index finds prefixes


def one_of(
    column: str,
    kind: type[StrEnum],
) -> CheckConstraint:
    """A CHECK that a column holds one of a status's values."""
    values = ", ".join(f"'{item.value}'" for item in kind)
    return CheckConstraint(f"{column} IN ({values})", name=column)


class FactRow(Base):
    """One claim, one version of a fact. Rows are never deleted."""

    __tablename__ = "facts"
    __table_args__ = (
        one_of("status", FactStatus),
        Index(None, "subject_id", "relation"),
        Index("ix_facts_status", "status", "turn", "id"),
        Index("ix_facts_tally", "status"),  # narrow, so that a million are counted in 100 ms
        Index("ix_facts_relation", "relation", "id"),
        Index("ix_facts_due_at", "due_at"),
        Index("ix_facts_channel", "channel", "subject_id"),
        Index("ix_facts_change", "change", "id"),
        Index(
            "ix_facts_baked_in",
            "status",
            "id",
            sqlite_where=text("baked_in IS NOT NULL"),
            postgresql_where=text("baked_in IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(16), primary_key=True)
    source: Mapped[str]
    revision: Mapped[str]
    event_time: Mapped[datetime] = mapped_column(UtcTime)
    observed_at: Mapped[datetime] = mapped_column(UtcTime)
    subject_id: Mapped[str]
    subject: Mapped[dict[str, Any]] = mapped_column(JSON)  # labels and aliases
    relation: Mapped[str]
    object_id: Mapped[str]
    object: Mapped[dict[str, Any]] = mapped_column(JSON)
    valid_from: Mapped[date | None]
    valid_to: Mapped[date | None]
    known: Mapped[bool]
    status: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str]
    changed_at: Mapped[datetime] = mapped_column(UtcTime)
    # how the claim reached us
    channel: Mapped[str] = mapped_column(String(64), server_default="cli")
    trust: Mapped[int] = mapped_column(server_default="50")
    licence: Mapped[str] = mapped_column(server_default="")
    file: Mapped[str] = mapped_column(server_default="")
    line: Mapped[int] = mapped_column(server_default="0")
    retrieved_at: Mapped[datetime | None] = mapped_column(UtcTime)
    payload_hash: Mapped[str] = mapped_column(String(64), server_default="")
    # what decides whether it counts
    withdrawn: Mapped[bool] = mapped_column(server_default=false())
    reference_count: Mapped[int | None]
    risk: Mapped[float | None]
    demand: Mapped[float] = mapped_column(server_default="0")
    soak_until: Mapped[datetime | None] = mapped_column(UtcTime)
    needs_sources: Mapped[int] = mapped_column(server_default="1")
    hold: Mapped[str] = mapped_column(server_default="")
    asked: Mapped[str] = mapped_column(String(16), server_default="")  # what the base model said
    # what follows
    change: Mapped[str] = mapped_column(String(16), server_default="none")
    due_at: Mapped[datetime | None] = mapped_column(UtcTime)
    turn: Mapped[float] = mapped_column(server_default="0")  # the smallest is written first
    baked_in: Mapped[int | None]  # the base in effect, or a parent of it, that holds the fact


class VerdictRow(Base):
    """What was decided about a value: a subject, relation and object, whoever claims it."""

    __tablename__ = "verdicts"
    __table_args__ = (one_of("ruling", Ruling),)

    subject_id: Mapped[str] = mapped_column(primary_key=True)
    relation: Mapped[str] = mapped_column(primary_key=True)
    object_id: Mapped[str] = mapped_column(primary_key=True)
    ruling: Mapped[str] = mapped_column(String(16))
    why: Mapped[str]
    who: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)


class EntityRow(Base):
    """A thing with every name that a source used for it."""

    __tablename__ = "entities"
    __table_args__ = (Index("ix_entities_renamed", "renamed"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    labels: Mapped[dict[str, Any]] = mapped_column(JSON)  # language -> label -> last event time
    aliases: Mapped[dict[str, Any]] = mapped_column(JSON)  # language -> names, sorted
    renamed: Mapped[bool]  # some language has had more than one label


class NameRow(Base):
    """A name as it is looked for, and a thing that has it as a label; prefixes are found in its one index."""

    __tablename__ = "names"
    __table_args__ = ({"sqlite_with_rowid": False},)

    name: Mapped[str] = mapped_column(FOLDED, primary_key=True)
    entity_id: Mapped[str] = mapped_column(primary_key=True)


class SourceRow(Base):
    """Where a source stands. The cursor is saved in the transaction of the facts that it follows."""

    __tablename__ = "sources"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    cursor: Mapped[dict[str, Any]] = mapped_column(JSON)
    pulled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    succeeded_at: Mapped[datetime | None] = mapped_column(UtcTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcTime)  # as the source asked
    failures: Mapped[int]  # in a row
    error: Mapped[str]
    frozen: Mapped[str]  # why; empty: it is not


class SourceDayRow(Base):
    """How many claims a source made on a day, UTC."""

    __tablename__ = "source_days"

    source: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    claims: Mapped[int]


class SeenRow(Base):
    """What a source has taken already: an item's key and its state then (a revision, a content hash)."""

    __tablename__ = "seen"
    __table_args__ = (Index("ix_seen_at", "at"),)

    source: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)


class PointerRow(Base):
    """An item that one source (a stream, a feed) tells another one to look at."""

    __tablename__ = "pointers"

    source: Mapped[str] = mapped_column(String(64), primary_key=True)  # that is to look
    key: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)


class DeliveryRow(Base):
    """A webhook's body, as it was signed, until it is taken."""

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("source", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(64))
    key: Mapped[str]  # the sender's unique id
    body: Mapped[bytes | None]  # None: taken
    received_at: Mapped[datetime] = mapped_column(UtcTime)


class BadLineRow(Base):
    """A line of a source that was set aside."""

    __tablename__ = "bad_lines"
    __table_args__ = (Index("ix_bad_lines_file", "file", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str]
    number: Mapped[int]
    reason: Mapped[str]
    excerpt: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)


class CandidateRow(Base):
    """A set of facts on its way to a release."""

    __tablename__ = "candidates"
    __table_args__ = (one_of("status", CandidateStatus), Index("ix_candidates_status", "status"))

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(64))
    fact_ids: Mapped[list[str]] = mapped_column(JSON)
    fact_count: Mapped[int] = mapped_column(
        server_default="0"
    )  # so that lists need not read the ids
    status: Mapped[str] = mapped_column(String(16))
    delta_id: Mapped[str | None] = mapped_column(String(64))
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    reasons: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    changed_at: Mapped[datetime] = mapped_column(UtcTime)
    narrowed: Mapped[bool] = mapped_column(server_default=false())  # who causes it was looked for


class ReleaseRow(Base):
    """What was accepted for publishing. Number 0 is the base model."""

    __tablename__ = "releases"
    __table_args__ = (one_of("status", ReleaseStatus), Index("ix_releases_status", "status"))

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    delta_id: Mapped[str | None] = mapped_column(String(64))
    fact_ids: Mapped[list[str]] = mapped_column(JSON)
    fact_count: Mapped[int] = mapped_column(
        server_default="0"
    )  # so that lists need not read the ids
    status: Mapped[str] = mapped_column(String(16))
    who: Mapped[str]
    why: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    live_at: Mapped[datetime | None] = mapped_column(UtcTime)
    base: Mapped[int] = mapped_column(server_default="0")  # that it was computed on


class BaseRow(Base):
    """A model that the facts of a release were baked into. The original one, number 0, has no row."""

    __tablename__ = "bases"
    __table_args__ = (one_of("status", BaseStatus),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    parent: Mapped[int]
    release: Mapped[int] = mapped_column(ForeignKey("releases.number"))
    path: Mapped[str]
    fingerprint: Mapped[str] = mapped_column(String(64))
    parent_fingerprint: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    who: Mapped[str]
    why: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    changed_at: Mapped[datetime] = mapped_column(UtcTime)


class RunRow(Base):
    """One tick of one job; unique, so that a second daemon cannot run the same one."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("job", "scheduled_for"),
        one_of("status", RunStatus),
        Index("ix_runs_status", "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str]
    scheduled_for: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    status: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str]
    epoch: Mapped[int] = mapped_column(server_default="0")  # of the clock's lease
    attempt: Mapped[int] = mapped_column(server_default="1")


class FlagRow(Base):
    """Switches, `frozen` among them: the row is there while it is on. `base asked` holds the fingerprint of the model."""

    __tablename__ = "flags"

    name: Mapped[str] = mapped_column(primary_key=True)
    why: Mapped[str]
    who: Mapped[str]
    since: Mapped[datetime] = mapped_column(UtcTime)


class AuditRow(Base):
    """What a person or the daemon did."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    who: Mapped[str]
    what: Mapped[str]
    why: Mapped[str]


class ProbeSetRow(Base):
    """A version of the questions that every release is asked; the questions lie in the state directory."""

    __tablename__ = "probe_sets"

    version: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of its content
    basis: Mapped[str] = mapped_column(String(64))  # of what it was built for: base, languages, …
    counts: Mapped[dict[str, Any]] = mapped_column(JSON)  # kind and language -> number
    why: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(UtcTime)


class QuarantineRow(Base):
    """A fact that blame set aside, and what spoke against it."""

    __tablename__ = "quarantine"
    __table_args__ = (Index("ix_quarantine_fact_id", "fact_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    fact_id: Mapped[str] = mapped_column(String(16), ForeignKey("facts.id"))
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcTime)


class BeliefRow(Base):
    """What the base model believed about a fact before it was written, from several wordings and decodings."""

    __tablename__ = "beliefs"

    fact_id: Mapped[str] = mapped_column(String(16), ForeignKey("facts.id"), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    base: Mapped[str] = mapped_column(String(64))  # fingerprint of the model
    answer: Mapped[str]  # the commonest
    certainty: Mapped[float]  # its share of all decodings
    agreement: Mapped[float]  # share of the wordings whose greedy answer it is
    asked: Mapped[int]  # decodings
    others: Mapped[dict[str, Any]] = mapped_column(JSON)  # answer -> share
    at: Mapped[datetime] = mapped_column(UtcTime)


class AuditedRow(Base):
    """An audit of the live release."""

    __tablename__ = "audits"
    __table_args__ = (Index("ix_audits_release", "release"), one_of("outcome", AuditOutcome))

    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[int] = mapped_column(ForeignKey("releases.number"))
    outcome: Mapped[str] = mapped_column(String(16))
    action: Mapped[str]  # what was done about it
    reasons: Mapped[list[str]] = mapped_column(JSON)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcTime)
