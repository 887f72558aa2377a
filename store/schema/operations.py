"""The tables of running factd.

Leases, tasks, workers, approvals, notices, servers and their hand-overs, accounts.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from factd.store.model.handovers import HandoverStatus
from factd.store.model.operations import Consent, DispatchStatus, Role, TaskStatus
from factd.store.schema.facts import RowBase, UtcTime, one_of


class LeaseRow(RowBase):
    """The right to do something that only one process may do at a time."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(String(16), primary_key=True)
    holder: Mapped[str]
    epoch: Mapped[int]
    turns: Mapped[int]
    at: Mapped[datetime] = mapped_column(UtcTime)  # for operators only; no decision depends on it


class TaskRow(RowBase):
    """Work for a worker: it loads a model."""

    __tablename__ = "tasks"
    __table_args__ = (one_of("status", TaskStatus), Index("ix_tasks_status", "status", "id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    arguments: Mapped[dict[str, Any]] = mapped_column(JSON)
    status: Mapped[str] = mapped_column(String(16))
    attempt: Mapped[int]
    size: Mapped[int | None]
    worker: Mapped[str]
    beats: Mapped[int]
    step: Mapped[str]
    in_hand: Mapped[list[str]] = mapped_column(JSON)
    not_before: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcTime)
    detail: Mapped[str]
    result: Mapped[dict[str, Any]] = mapped_column(JSON)


class DeathRow(RowBase):
    """A worker that died or ran out of memory, and the facts that it was working on."""

    __tablename__ = "deaths"
    __table_args__ = (Index("ix_deaths_task_id", "task_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("tasks.id"))
    cause: Mapped[str] = mapped_column(String(16))
    in_hand: Mapped[list[str]] = mapped_column(JSON)
    detail: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)


class WorkerRow(RowBase):
    """A process that carries out tasks."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    device: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)
    task_id: Mapped[int | None]
    done: Mapped[int]
    rss_bytes: Mapped[int]


class ApprovalRow(RowBase):
    """An operator's decision about a batch."""

    __tablename__ = "approvals"
    __table_args__ = (one_of("consent", Consent),)

    batch_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    consent: Mapped[str] = mapped_column(String(16))
    who: Mapped[str]
    why: Mapped[str]
    at: Mapped[datetime] = mapped_column(UtcTime)


class NoticeRow(RowBase):
    """Something that operators should know. At most one notice for each key is open."""

    __tablename__ = "notices"
    __table_args__ = (
        Index("ix_notices_key", "key", "over_at"),
        Index(
            "uq_notices_open",
            "key",
            unique=True,
            sqlite_where=text("over_at IS NULL"),
            postgresql_where=text("over_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(String(32))
    text: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)
    first_at: Mapped[datetime] = mapped_column(UtcTime)
    last_at: Mapped[datetime] = mapped_column(UtcTime)
    count: Mapped[int]
    over_at: Mapped[datetime | None] = mapped_column(UtcTime)


class DispatchRow(RowBase):
    """A notice on its way over one channel."""

    __tablename__ = "dispatches"
    __table_args__ = (
        one_of("status", DispatchStatus),
        UniqueConstraint("notice_id", "channel"),
        Index("ix_dispatches_status", "status", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    notice_id: Mapped[int] = mapped_column(ForeignKey("notices.id"))
    channel: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    not_before: Mapped[datetime | None] = mapped_column(UtcTime)
    error: Mapped[str]
    sent_at: Mapped[datetime | None] = mapped_column(UtcTime)
    times: Mapped[int] = mapped_column(server_default="0")  # earlier sends of the same notice


STILL_OPEN = text("status IN ('waiting', 'sending')")


class HandoverRow(RowBase):
    """One release on its way to one server.

    A unique index allows at most one open hand-over for each server.
    """

    __tablename__ = "handovers"
    __table_args__ = (
        one_of("status", HandoverStatus),
        Index("ix_handovers_server", "server", "id"),
        Index(
            "uq_handovers_open",
            "server",
            unique=True,
            sqlite_where=STILL_OPEN,
            postgresql_where=STILL_OPEN,
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    server: Mapped[str] = mapped_column(String(64))
    release: Mapped[int] = mapped_column(ForeignKey("releases.number"))
    status: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    not_before: Mapped[datetime | None] = mapped_column(UtcTime)
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    changed_at: Mapped[datetime] = mapped_column(UtcTime)
    why: Mapped[str]
    error: Mapped[str]
    restored: Mapped[bool | None]
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)


class ServerRow(RowBase):
    """The state of a server when it was last checked."""

    __tablename__ = "servers"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    release: Mapped[int | None]
    version: Mapped[str]
    loaded: Mapped[list[str]] = mapped_column(JSON)
    seen_at: Mapped[datetime | None] = mapped_column(UtcTime)
    error: Mapped[str]


class AccountRow(RowBase):
    """A person who may use the console."""

    __tablename__ = "accounts"
    __table_args__ = (one_of("role", Role),)

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    role: Mapped[str] = mapped_column(String(16))
    secret: Mapped[str]  # a slow hash of the password
    made_at: Mapped[datetime] = mapped_column(UtcTime)
    disabled: Mapped[bool] = mapped_column(server_default=false())


class TokenRow(RowBase):
    """An access token for a program.

    Only its SHA-256 is stored. A fast hash is enough, because the token is 256 random bits.
    """

    __tablename__ = "tokens"
    __table_args__ = (one_of("role", Role), UniqueConstraint("digest"))

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[datetime] = mapped_column(UtcTime)
    used_at: Mapped[datetime | None] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked: Mapped[bool] = mapped_column(server_default=false())


class SessionRow(RowBase):
    """A session of a person who is logged in. Only the SHA-256 of the cookie is stored."""

    __tablename__ = "sessions"
    __table_args__ = (Index("ix_sessions_account", "account"),)

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    account: Mapped[str] = mapped_column(String(64), ForeignKey("accounts.name"))
    csrf: Mapped[str] = mapped_column(String(64))
    made_at: Mapped[datetime] = mapped_column(UtcTime)
    seen_at: Mapped[datetime] = mapped_column(UtcTime)


METADATA = RowBase.metadata  # of all tables, those of facts.py and releases.py included
