"""Publishers, one file each: they bring a release to where servers read it, and switch back without a GPU."""

from pathlib import Path
from typing import Any, Protocol


class Publisher(Protocol):
    """Keeps versions side by side; one of them is current."""

    def has(self, number: int) -> bool:
        """The version lies ready."""
        ...

    def publish(self, number: int, base: Path, delta: Any, about: dict[str, Any]) -> Path:
        """Make a version ready, whole or not at all. delta None: the base itself."""
        ...

    def folder(self, number: int) -> Path:
        """Where a version lies as servers load it."""
        ...

    def previous(self, number: int) -> int | None:
        """The newest version before one that lies ready; None: there is none."""
        ...

    def switch(self, number: int, *, epoch: int | None = None) -> None:
        """Make a version the current one, atomically.

        epoch: of the writer's lease. Raises: PublishFailed: it is not there, or one with a later epoch has been here.
        """
        ...

    def fence(self, epoch: int) -> None:
        """From now on whoever has an earlier epoch is refused, also one that was paused meanwhile. Raises: PublishFailed."""
        ...

    def numbers(self) -> list[int]:
        """The versions that lie ready, ascending."""
        ...

    def current(self) -> int | None:
        """The number of the current version."""
        ...
