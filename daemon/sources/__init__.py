"""Sources of fact updates, one file each: a function `pull` that brings what is new into the store."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from daemon.bootstrap import Factd


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """What one pull brought."""

    source: str
    files: int
    lines: int
    new: int
    bad: int


class Source(Protocol):
    """Brings what is new into the store; a bad item is set aside, never lost."""

    def __call__(self, factd: "Factd") -> Pulled:
        """One pull, bounded."""
        ...
