"""The tables. Times are UTC with their zone; statuses are texts with CHECK constraints; JSON holds names per language."""

from datetime import UTC, date, datetime
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
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from store.facts import FactStatus
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


def one_of(
    column: str, kind: type[FactStatus | CandidateStatus | ReleaseStatus | RunStatus]
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
        Index(None, "status"),
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


class BadLineRow(Base):
    """A line of a source that was set aside."""

    __tablename__ = "bad_lines"

    id: Mapped[int] = mapped_column(primary_key=True)
    file: Mapped[str]
    number: Mapped[int]
    reason: Mapped[str]
    excerpt: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)


class CandidateRow(Base):
    """A set of facts on its way to a release."""

    __tablename__ = "candidates"
    __table_args__ = (one_of("status", CandidateStatus),)

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(64))
    fact_ids: Mapped[list[str]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16))
    delta_id: Mapped[str | None] = mapped_column(String(64))
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    reasons: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    changed_at: Mapped[datetime] = mapped_column(UtcTime)


class ReleaseRow(Base):
    """What was accepted for publishing. Number 0 is the base model."""

    __tablename__ = "releases"
    __table_args__ = (one_of("status", ReleaseStatus),)

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    delta_id: Mapped[str | None] = mapped_column(String(64))
    fact_ids: Mapped[list[str]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16))
    who: Mapped[str]
    why: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    live_at: Mapped[datetime | None] = mapped_column(UtcTime)


class RunRow(Base):
    """One tick of one job; unique, so that a second daemon cannot run the same one."""

    __tablename__ = "runs"
    __table_args__ = (UniqueConstraint("job", "scheduled_for"), one_of("status", RunStatus))

    id: Mapped[int] = mapped_column(primary_key=True)
    job: Mapped[str]
    scheduled_for: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    status: Mapped[str] = mapped_column(String(16))
    detail: Mapped[str]


class FlagRow(Base):
    """Switches, of which `frozen` is one; the row is there while it is on."""

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
