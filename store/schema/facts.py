"""The tables of facts and sources. Times are UTC with their zone; statuses are texts with CHECK constraints."""

from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Index,
    MetaData,
    String,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from factd.store.model.facts import FactStatus, Ruling

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
