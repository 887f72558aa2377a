"""What running factd needs: leases, tasks, approvals, notices, accounts, the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from factd.store.errors import IllegalMove


class TaskStatus(StrEnum):
    """waiting → running → done | failed.

    A task whose worker died waits again, or has failed.
    """

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Consent(StrEnum):
    """An operator's decision about a batch."""

    APPROVED = "approved"
    REFUSED = "refused"


class DispatchStatus(StrEnum):
    """The status of a notice on one channel."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


class Role(StrEnum):
    """What an account may do."""

    VIEW = "view"  # only look
    OPERATE = "operate"  # also approve, withdraw, roll back and freeze


_T = TaskStatus
TASK_MOVES: Mapping[TaskStatus, tuple[TaskStatus, ...]] = {
    _T.WAITING: (_T.RUNNING,),
    _T.RUNNING: (_T.DONE, _T.FAILED, _T.WAITING),
    _T.DONE: (),
    _T.FAILED: (),
}


def check_task_move(before: TaskStatus, after: TaskStatus) -> None:
    """Check a status change of a task.

    Raises: IllegalMove: the table of legal moves does not have it.
    """
    if after not in TASK_MOVES[before]:
        raise IllegalMove(f"a task that is {before} cannot become {after}")


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to do something that only one process may do at a time.

    The epoch rises each time the lease changes hands. Changes under an older epoch are refused.
    """

    name: str  # "clock": starts jobs; "writer": changes releases; "servers": hands releases over
    holder: str  # host:pid:start; empty if nobody holds it
    epoch: int
    turns: int  # number of renewals; if it stands still for a while, another process takes over


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work for a worker: it loads a model."""

    id: int
    kind: str  # a name that daemon/tasks/edit.py knows
    arguments: Mapping[str, Any]
    status: TaskStatus
    attempt: int  # number of the current or last attempt, from 1; 0: no attempt yet
    size: (
        int | None
    )  # most new facts, after a worker died or ran out of memory; None: as configured
    worker: str
    beats: int  # heartbeats of this attempt
    step: str  # the current step
    in_hand: tuple[str, ...]  # ids of the facts that the worker is working on
    not_before: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    detail: str
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that carries out tasks."""

    name: str  # host:pid:start
    device: str
    started_at: datetime
    seen_at: datetime
    task_id: int | None
    done: int  # number of finished tasks
    rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Approval:
    """An operator's decision about a batch, bound to the batch's content hash."""

    batch_id: str
    consent: Consent
    who: str
    why: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that operators should know.

    A condition that lasts is one notice. If it ends and comes back, that is a new notice.
    """

    id: int
    key: str  # identifies the condition, so that one condition is one notice
    kind: str
    text: str
    data: Mapping[str, Any]
    first_at: datetime
    last_at: datetime
    count: int  # how often the condition was found
    over_at: datetime | None  # when the condition ended; None: it still holds


@dataclass(frozen=True, kw_only=True)
class Dispatch:
    """A notice on its way over one channel."""

    id: int
    notice: Notice
    channel: str
    status: DispatchStatus
    attempts: int
    not_before: datetime | None
    error: str  # of the last attempt
    sent_at: datetime | None
    times: int  # earlier sends; it is sent again because the condition still holds


@dataclass(frozen=True, kw_only=True)
class Account:
    """A person who may use the console."""

    name: str
    role: Role
    secret: str  # a slow hash of the password
    made_at: datetime
    disabled: bool

    def as_json(self) -> dict[str, Any]:
        """The account for `--json`, without the secret."""
        made = self.made_at.isoformat()
        return {
            "name": self.name,
            "role": self.role.value,
            "made_at": made,
            "disabled": self.disabled,
        }


@dataclass(frozen=True, kw_only=True)
class Token:
    """An access token for a program."""

    id: int
    name: str
    role: Role
    made_at: datetime
    used_at: datetime | None
    expires_at: datetime | None
    revoked: bool

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        times = {"made_at": self.made_at, "used_at": self.used_at, "expires_at": self.expires_at}
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role.value,
            **{name: at.isoformat() if at else None for name, at in times.items()},
            "revoked": self.revoked,
        }


@dataclass(frozen=True, kw_only=True)
class Login:
    """A session of a person who is logged in to the console."""

    digest: str  # SHA-256 of the cookie
    account: str
    csrf: str  # the token that every form of this session must send
    made_at: datetime
    seen_at: datetime


@dataclass(frozen=True, kw_only=True)
class AuditLogEntry:
    """One action of a person or of the daemon."""

    id: int
    at: datetime
    who: str
    what: str
    why: str
