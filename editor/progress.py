"""How long work reports its progress: by a callable (stage, done, total)."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """A `Progress` that reports nothing."""
