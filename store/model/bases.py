"""Bases: the models that releases are computed on.

Base 0 is the user's own model. Every other base was baked from a release of the base before it,
which is called its parent. A base holds the facts of that release and of all its parents.

The base in effect is the base of the live release, whatever other bases are ready. Rolling back to
a release of an older base puts that base into effect again, and the facts that were baked since
then become edits again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

FOLDER = "bases"  # in the state directory


class BaseStatus(StrEnum):
    """preparing → verified → active → retired → pruned.

    A retired base becomes active again when one of its releases becomes live again.
    """

    PREPARING = "preparing"
    VERIFIED = "verified"  # complete and checked, with its second moments; its release waits
    ACTIVE = "active"  # the base of the live release
    RETIRED = "retired"
    PRUNED = "pruned"  # its files are deleted
    ABANDONED = "abandoned"  # will never be used


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
    release: int  # the release whose facts were baked
    path: str  # relative to the state directory
    fingerprint: str  # empty until the base is verified
    parent_fingerprint: str
    status: BaseStatus
    who: str
    why: str
    reason: str  # why it was abandoned or pruned
    created_at: datetime
    changed_at: datetime

    def describe(self) -> str:
        """The base in a few words, for operators."""
        return f"base {self.number}, baked from release {self.release}"

    def as_json(self) -> dict[str, Any]:
        """The value for `--json`."""
        times = {"created_at": self.created_at, "changed_at": self.changed_at}
        return {
            **vars(self),
            "status": self.status.value,
            **{name: time.isoformat() for name, time in times.items()},
        }
