"""Running factd, pure: leases, the worker's tasks, approvals, notices, accounts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from factd.store.errors import IllegalMove


class TaskStatus(StrEnum):
    """waiting → running → done | failed; one whose worker died waits again, or has failed."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Consent(StrEnum):
    """What an operator said to a batch."""

    APPROVED = "approved"
    REFUSED = "refused"


class DispatchStatus(StrEnum):
    """Where a notice stands on one channel."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


class Role(StrEnum):
    """What an account may do: look, or also approve, withdraw, roll back and freeze."""

    VIEW = "view"
    OPERATE = "operate"


_T = TaskStatus
TASK_MOVES: Mapping[TaskStatus, tuple[TaskStatus, ...]] = {
    _T.WAITING: (_T.RUNNING,),
    _T.RUNNING: (_T.DONE, _T.FAILED, _T.WAITING),
    _T.DONE: (),
    _T.FAILED: (),
}


def check_task_move(before: TaskStatus, after: TaskStatus) -> None:
    """Raises: IllegalMove: the table has no such move."""
    if after not in TASK_MOVES[before]:
        raise IllegalMove(f"a task that is {before} cannot become {after}")


@dataclass(frozen=True, kw_only=True)
class Lease:
    """Who may do what only one may do. The epoch rises each time that it changes hands: what an older one did is refused."""

    name: str  # "clock": who ticks; "writer": who changes releases
    holder: str  # host:pid:start; empty: nobody
    epoch: int
    turns: (
        int  # renewals; a follower that sees none for a while takes over, whatever the clocks say
    )


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work that loads a model, for a worker."""

    id: int
    kind: str  # a name of daemon/tasks/edit.py
    arguments: Mapping[str, Any]
    status: TaskStatus
    attempt: int  # that runs or ran last, from 1; 0: none yet
    size: (
        int | None
    )  # new facts at most, after a worker ran out of memory or died; None: as configured
    worker: str
    beats: int  # heartbeats of this attempt
    step: str  # that it is at
    in_hand: tuple[str, ...]  # facts that it works on
    not_before: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    detail: str
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that does tasks."""

    name: str  # host:pid:start
    device: str
    started_at: datetime
    seen_at: datetime
    task_id: int | None
    done: int  # tasks
    rss_bytes: int


@dataclass(frozen=True, kw_only=True)
class Approval:
    """What an operator said to a batch, bound to its content hash."""

    batch_id: str
    consent: Consent
    who: str
    why: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that people should know; what stays so is told once, and again when it comes back."""

    id: int
    key: str  # what it is about, for telling it once
    kind: str
    text: str
    data: Mapping[str, Any]
    first_at: datetime
    last_at: datetime
    count: int
    over_at: datetime | None  # when it ended


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
    times: int  # that it was told before, and is told again because it still holds


@dataclass(frozen=True, kw_only=True)
class Account:
    """Somebody who may use the console."""

    name: str
    role: Role
    secret: str  # a slow hash of the password
    made_at: datetime
    disabled: bool

    def as_json(self) -> dict[str, Any]:
        """For `--json`; without the secret."""
        made = self.made_at.isoformat()
        return {
            "name": self.name,
            "role": self.role.value,
            "made_at": made,
            "disabled": self.disabled,
        }


@dataclass(frozen=True, kw_only=True)
class Token:
    """A secret for programs."""

    id: int
    name: str
    role: Role
    made_at: datetime
    used_at: datetime | None
    expires_at: datetime | None
    revoked: bool

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
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
    """Somebody who is logged in."""

    digest: str  # SHA-256 of the cookie
    account: str
    csrf: str  # what every form of this session must bring
    made_at: datetime
    seen_at: datetime
