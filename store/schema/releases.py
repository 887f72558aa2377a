"""The tables of candidates, releases and bases, of runs, and of what was measured and decided about them."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from factd.store.model.bases import BaseStatus
from factd.store.model.evidence import AuditOutcome
from factd.store.model.releases import CandidateStatus, ReleaseStatus, RunStatus
from factd.store.schema.facts import Base, UtcTime, one_of


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
