"""The tables of facts and sources.

Times are UTC with their zone. Statuses are texts with CHECK constraints.
"""

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
    """A time with its zone, stored in UTC.

    A time without a zone is refused, because SQLite would lose the zone without an error.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The time in UTC, for the database. Raises: ValueError: the time has no zone."""
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a time needs its zone: {value!r}")
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The time from the database, with its zone."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


class RowBase(DeclarativeBase):
    """Base class of all rows (SQLAlchemy's declarative base)."""

    metadata = MetaData(naming_convention=NAMING)


# Collation C lets PostgreSQL find prefixes through an index.
FOLDED = String().with_variant(String(collation="C"), "postgresql")


def one_of(column: str, kind: type[StrEnum]) -> CheckConstraint:
    """A CHECK constraint that a column holds one of an enum's values."""
    values = ", ".join(f"'{item.value}'" for item in kind)
    return CheckConstraint(f"{column} IN ({values})", name=column)


class FactRow(RowBase):
    """A fact version: one claim with its status. Rows are never deleted."""

    __tablename__ = "facts"
    __table_args__ = (
        one_of("status", FactStatus),
        Index(None, "subject_id", "relation"),
        Index("ix_facts_status", "status", "turn", "id"),
        Index("ix_facts_tally", "status"),  # narrow: a million facts are counted in 100 ms
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
    # how the claim reached factd
    channel: Mapped[str] = mapped_column(String(64), server_default="cli")
    trust: Mapped[int] = mapped_column(server_default="50")
    licence: Mapped[str] = mapped_column(server_default="")
    file: Mapped[str] = mapped_column(server_default="")
    line: Mapped[int] = mapped_column(server_default="0")
    retrieved_at: Mapped[datetime | None] = mapped_column(UtcTime)
    payload_hash: Mapped[str] = mapped_column(String(64), server_default="")
    # what decides whether the claim counts
    withdrawn: Mapped[bool] = mapped_column(server_default=false())
    reference_count: Mapped[int | None]
    risk: Mapped[float | None]
    demand: Mapped[float] = mapped_column(server_default="0")
    soak_until: Mapped[datetime | None] = mapped_column(UtcTime)
    needs_sources: Mapped[int] = mapped_column(server_default="1")
    hold: Mapped[str] = mapped_column(server_default="")
    asked: Mapped[str] = mapped_column(String(16), server_default="")  # the base model's answer
    # the result of conflict resolution
    change: Mapped[str] = mapped_column(String(16), server_default="none")
    due_at: Mapped[datetime | None] = mapped_column(UtcTime)
    turn: Mapped[float] = mapped_column(server_default="0")  # the smallest is written first
    baked_in: Mapped[int | None]  # the base in effect, or a parent of it, that holds the fact


class VerdictRow(RowBase):
    """A verdict about a value: a subject, relation and object, from any source."""

    __tablename__ = "verdicts"
    __table_args__ = (one_of("ruling", Ruling),)

    subject_id: Mapped[str] = mapped_column(primary_key=True)
    relation: Mapped[str] = mapped_column(primary_key=True)
    object_id: Mapped[str] = mapped_column(primary_key=True)
    ruling: Mapped[str] = mapped_column(String(16))
    why: Mapped[str]
    who: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)


class EntityRow(RowBase):
    """A thing with every name that any source used for it."""

    __tablename__ = "entities"
    __table_args__ = (Index("ix_entities_renamed", "renamed"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    labels: Mapped[dict[str, Any]] = mapped_column(JSON)  # language -> label -> last event time
    aliases: Mapped[dict[str, Any]] = mapped_column(JSON)  # language -> sorted names
    renamed: Mapped[bool]  # some language has had more than one label


class NameRow(RowBase):
    """A label in the form that a search compares, with a thing that has this label.

    The primary key is the only index; searches find prefixes in it.
    """

    __tablename__ = "names"
    __table_args__ = ({"sqlite_with_rowid": False},)

    name: Mapped[str] = mapped_column(FOLDED, primary_key=True)
    entity_id: Mapped[str] = mapped_column(primary_key=True)


class SourceRow(RowBase):
    """The state of a source. The cursor is saved in the same transaction as the facts before it."""

    __tablename__ = "sources"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    cursor: Mapped[dict[str, Any]] = mapped_column(JSON)
    pulled_at: Mapped[datetime | None] = mapped_column(UtcTime)
    succeeded_at: Mapped[datetime | None] = mapped_column(UtcTime)
    not_before: Mapped[datetime | None] = mapped_column(UtcTime)  # next try, by the source's wish
    failures: Mapped[int]  # in a row
    error: Mapped[str]
    frozen: Mapped[str]  # the reason; empty if the source is not frozen


class SourceDayRow(RowBase):
    """The number of claims that a source made on one day, UTC."""

    __tablename__ = "source_days"

    source: Mapped[str] = mapped_column(String(64), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)
    claims: Mapped[int]


class SeenRow(RowBase):
    """An item that a source has read already.

    The value is the item's state at that time: a revision or a content hash.
    """

    __tablename__ = "seen"
    __table_args__ = (Index("ix_seen_at", "at"),)

    source: Mapped[str] = mapped_column(String(64), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)


class PointerRow(RowBase):
    """An item that one source (a stream, a feed) asks another source to read."""

    __tablename__ = "pointers"

    source: Mapped[str] = mapped_column(String(64), primary_key=True)  # the source to read it
    key: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)


class DeliveryRow(RowBase):
    """A webhook's body, byte for byte as it was signed. It is kept until its claims are stored."""

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("source", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(64))
    key: Mapped[str]  # the sender's unique id
    body: Mapped[bytes | None]  # None: its claims are stored
    received_at: Mapped[datetime] = mapped_column(UtcTime)


class BadLineRow(RowBase):
    """A line of a source that was not accepted."""

    __tablename__ = "bad_lines"
    __table_args__ = (Index("ix_bad_lines_file", "file", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str]
    number: Mapped[int]
    reason: Mapped[str]
    excerpt: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)
