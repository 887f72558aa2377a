"""Compare-and-swap: an UPDATE that names the state it expects, checked by its row count."""

from typing import Any

from sqlalchemy import CursorResult

from factd.store.errors import StaleState


def row_count(result: Any) -> int:
    """The number of rows that an UPDATE or a DELETE matched."""
    return result.rowcount if isinstance(result, CursorResult) else 0


def require_one_row(result: Any, sentence: str) -> None:
    """Check that an UPDATE matched its row.

    sentence: the first half of the error text, such as "base 3 is no longer verified".
    Raises: StaleState: the row is no longer in the expected state.
    """
    if row_count(result) != 1:
        raise StaleState(f"{sentence}; somebody else changed it, look again with `factd status`")
