"""Candidates, releases and runs of jobs, with their statuses and tables of legal moves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from factd.store.errors import IllegalMove


class CandidateStatus(StrEnum):
    """planned → solving → checking → accepted | rejected.

    An unfinished candidate that nobody works on any more is abandoned.
    """

    PLANNED = "planned"
    SOLVING = "solving"
    CHECKING = "checking"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    ABANDONED = "abandoned"


class ReleaseStatus(StrEnum):
    """accepted → publishing → live → retired.

    A release is withdrawn if it was rolled back from, or if an operator refused it.
    """

    ACCEPTED = "accepted"
    PUBLISHING = "publishing"
    LIVE = "live"
    RETIRED = "retired"
    WITHDRAWN = "withdrawn"


class RunStatus(StrEnum):
    """The status of one run of a job."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


_C, _R = CandidateStatus, ReleaseStatus
CANDIDATE_MOVES: Mapping[CandidateStatus, tuple[CandidateStatus, ...]] = {
    _C.PLANNED: (_C.SOLVING, _C.ABANDONED),
    _C.SOLVING: (_C.CHECKING, _C.ABANDONED),
    _C.CHECKING: (_C.ACCEPTED, _C.REJECTED, _C.ABANDONED),
    _C.ACCEPTED: (),
    _C.REJECTED: (),
    _C.ABANDONED: (),
}
RELEASE_MOVES: Mapping[ReleaseStatus, tuple[ReleaseStatus, ...]] = {
    _R.ACCEPTED: (_R.PUBLISHING, _R.WITHDRAWN),  # an operator refused it
    _R.PUBLISHING: (_R.LIVE, _R.ACCEPTED),  # back to accepted if the publisher failed
    _R.LIVE: (_R.RETIRED, _R.WITHDRAWN),
    _R.RETIRED: (_R.PUBLISHING,),  # a rollback publishes it again
    _R.WITHDRAWN: (_R.PUBLISHING,),
}


def check_move(moves: Mapping[Any, tuple[Any, ...]], before: StrEnum, after: StrEnum) -> None:
    """Check a status change.

    Raises: IllegalMove: the table of legal moves does not have it.
    """
    if after not in moves[before]:
        legal = ", ".join(moves[before]) or "nothing"
        raise IllegalMove(f"{before} cannot become {after}; it can become {legal}")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A set of facts on its way to a release."""

    id: int
    batch_id: str  # content hash of the edits
    fact_ids: tuple[str, ...]
    status: CandidateStatus
    delta_id: str | None
    report: Mapping[str, Any] | None
    reasons: tuple[str, ...]  # why it was rejected
    created_at: datetime
    narrowed: bool = False  # the facts that caused its rejection have been searched for


@dataclass(frozen=True, kw_only=True)
class Release:
    """A set of facts with the delta that writes them. Release 0 is the base model."""

    number: int
    candidate_id: int | None
    delta_id: str | None
    fact_ids: tuple[str, ...]
    status: ReleaseStatus
    who: str
    why: str
    created_at: datetime
    live_at: datetime | None
    base: int = 0  # the base that it was computed on; 0: the original model

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        return {
            "number": self.number,
            "status": self.status.value,
            "facts": list(self.fact_ids),
            "delta_id": self.delta_id,
            "candidate": self.candidate_id,
            "base": self.base,
            "who": self.who,
            "why": self.why,
            "created_at": self.created_at.isoformat(),
            "live_at": self.live_at.isoformat() if self.live_at else None,
        }


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of one job."""

    id: int
    job: str
    scheduled_for: datetime
    started_at: datetime
    finished_at: datetime | None
    status: RunStatus
    detail: str
    epoch: int = 0  # of the "clock" lease under which it ran
    attempt: int = 1

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        return {
            "job": self.job,
            "status": self.status.value,
            "scheduled_for": self.scheduled_for.isoformat(),
            "at": self.started_at.isoformat(),
            "finished_at": self.finished_at.isoformat() if self.finished_at else None,
            "attempt": self.attempt,
            "detail": self.detail,
        }


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A switch that is on, with who set it and why."""

    name: str
    why: str
    who: str
    since: datetime
