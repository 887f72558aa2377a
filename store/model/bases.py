"""Bases, pure: what releases are computed on. Number 0 is the user's own model, every other one was baked from a release.

A base is baked from a release of the base before it (its parent), and holds the facts of that release and of its parents. The
base in effect is that of the live release, whatever else lies ready: going back to a release of an older base makes that one
the base again, and the facts that were baked since are edits again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

FOLDER = "bases"  # in the state directory


class BaseStatus(StrEnum):
    """preparing → verified → active → retired → pruned; active again when a release of it is live again."""

    PREPARING = "preparing"
    VERIFIED = "verified"  # whole, checked, with its second moments; its release waits
    ACTIVE = "active"  # of the live release
    RETIRED = "retired"
    PRUNED = "pruned"  # its files are deleted
    ABANDONED = "abandoned"


_B = BaseStatus
BASE_MOVES: Mapping[BaseStatus, tuple[BaseStatus, ...]] = {
    _B.PREPARING: (_B.VERIFIED, _B.ABANDONED),
    _B.VERIFIED: (_B.ACTIVE, _B.ABANDONED),
    _B.ACTIVE: (_B.RETIRED,),
    _B.RETIRED: (_B.ACTIVE, _B.PRUNED),
    _B.PRUNED: (),
    _B.ABANDONED: (),
}


@dataclass(frozen=True, kw_only=True)
class Base:
    """A model that the facts of a release were baked into."""

    number: int  # from 1
    parent: int  # the base that the release was computed on; 0: the original model
    release: int  # whose facts were baked
    path: str  # relative to the state directory
    fingerprint: str  # empty until it is verified
    parent_fingerprint: str
    status: BaseStatus
    who: str
    why: str
    reason: str  # why it was abandoned or pruned
    created_at: datetime
    changed_at: datetime

    def said(self) -> str:
        """In a few words."""
        return f"base {self.number}, baked from release {self.release}"

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        times = {"created_at": self.created_at, "changed_at": self.changed_at}
        return {
            **vars(self),
            "status": self.status.value,
            **{name: time.isoformat() for name, time in times.items()},
        }
