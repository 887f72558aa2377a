"""The tables of candidates, releases, bases, runs, and of measurements and decisions."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from factd.store.model.bases import BaseStatus
from factd.store.model.evidence import AuditOutcome
from factd.store.model.releases import CandidateStatus, ReleaseStatus, RunStatus
from factd.store.schema.facts import RowBase, UtcTime, one_of


class CandidateRow(RowBase):
    """A set of facts on its way to a release."""

    __tablename__ = "candidates"
    __table_args__ = (one_of("status", CandidateStatus), Index("ix_candidates_status", "status"))

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(String(64))
    fact_ids: Mapped[list[str]] = mapped_column(JSON)
    fact_count: Mapped[int] = mapped_column(server_default="0")  # lists need not read the ids
    status: Mapped[str] = mapped_column(String(16))
    delta_id: Mapped[str | None] = mapped_column(String(64))
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    reasons: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    changed_at: Mapped[datetime] = mapped_column(UtcTime)
    narrowed: Mapped[bool] = mapped_column(server_default=false())  # see `Candidate.narrowed`


class ReleaseRow(RowBase):
    """A set of facts that was accepted for publishing. Release 0 is the base model."""

    __tablename__ = "releases"
    __table_args__ = (one_of("status", ReleaseStatus), Index("ix_releases_status", "status"))

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    delta_id: Mapped[str | None] = mapped_column(String(64))
    fact_ids: Mapped[list[str]] = mapped_column(JSON)
    fact_count: Mapped[int] = mapped_column(server_default="0")  # lists need not read the ids
    status: Mapped[str] = mapped_column(String(16))
    who: Mapped[str]
    why: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    live_at: Mapped[datetime | None] = mapped_column(UtcTime)
    base: Mapped[int] = mapped_column(server_default="0")  # the base that it was computed on


class BaseRow(RowBase):
    """A model that the facts of a release were baked into.

    The original model, base 0, has no row.
    """

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


class RunRow(RowBase):
    """One run of one job.

    (job, scheduled_for) is unique, so a second daemon cannot repeat a run.
    """

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
    epoch: Mapped[int] = mapped_column(server_default="0")  # of the "clock" lease
    attempt: Mapped[int] = mapped_column(server_default="1")


class FlagRow(RowBase):
    """A switch: its row exists while it is on.

    `frozen` stops edits and publishing. `base asked` holds, in `why`, the fingerprint of the
    base model whose answers the facts keep.
    """

    __tablename__ = "flags"

    name: Mapped[str] = mapped_column(primary_key=True)
    why: Mapped[str]
    who: Mapped[str]
    since: Mapped[datetime] = mapped_column(UtcTime)


class AuditLogRow(RowBase):
    """A line of the audit log: one action of a person or of the daemon."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcTime)
    who: Mapped[str]
    what: Mapped[str]
    why: Mapped[str]


class ProbeSetRow(RowBase):
    """One version of the questions that every release is asked.

    The questions themselves are files in the state directory.
    """

    __tablename__ = "probe_sets"

    version: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))  # SHA-256 of its content
    basis: Mapped[str] = mapped_column(String(64))  # SHA-256 of its inputs: base, languages, …
    counts: Mapped[dict[str, Any]] = mapped_column(JSON)  # kind and language -> number
    why: Mapped[str]
    made_at: Mapped[datetime] = mapped_column(UtcTime)


class QuarantineRow(RowBase):
    """A fact that was set aside, with the evidence against it."""

    __tablename__ = "quarantine"
    __table_args__ = (Index("ix_quarantine_fact_id", "fact_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    fact_id: Mapped[str] = mapped_column(String(16), ForeignKey("facts.id"))
    candidate_id: Mapped[int | None] = mapped_column(ForeignKey("candidates.id"))
    reason: Mapped[str]
    evidence: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcTime)


class BeliefRow(RowBase):
    """The base model's belief about a fact in one language, before the fact was written."""

    __tablename__ = "beliefs"

    fact_id: Mapped[str] = mapped_column(String(16), ForeignKey("facts.id"), primary_key=True)
    language: Mapped[str] = mapped_column(primary_key=True)
    base: Mapped[str] = mapped_column(String(64))  # fingerprint of the model
    answer: Mapped[str]  # the most frequent answer
    certainty: Mapped[float]  # share of all decodings that give it
    agreement: Mapped[float]  # share of the wordings whose greedy answer it is
    asked: Mapped[int]  # number of decodings
    others: Mapped[dict[str, Any]] = mapped_column(JSON)  # answer -> share
    at: Mapped[datetime] = mapped_column(UtcTime)


class ReleaseAuditRow(RowBase):
    """An audit of the live release."""

    __tablename__ = "audits"
    __table_args__ = (Index("ix_audits_release", "release"), one_of("outcome", AuditOutcome))

    id: Mapped[int] = mapped_column(primary_key=True)
    release: Mapped[int] = mapped_column(ForeignKey("releases.number"))
    outcome: Mapped[str] = mapped_column(String(16))
    action: Mapped[str]  # what was done about the result
    reasons: Mapped[list[str]] = mapped_column(JSON)
    report: Mapped[dict[str, Any]] = mapped_column(JSON)
    at: Mapped[datetime] = mapped_column(UtcTime)
