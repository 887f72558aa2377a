"""What a statement changed: the row count that every compare-and-swap looks at."""

from typing import Any

from sqlalchemy import CursorResult

from factd.store.errors import StaleState


def changed(done: Any) -> int:
    """Rows that an UPDATE or a DELETE found."""
    return done.rowcount if isinstance(done, CursorResult) else 0


def swapped(done: Any, sentence: str) -> None:
    """Raises: StaleState: an update found no row as it was seen."""
    if changed(done) != 1:
        raise StaleState(f"{sentence}; somebody else changed it, look again with `factd status`")
