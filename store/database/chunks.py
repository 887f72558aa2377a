"""Many things, some at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most so many items, in their order."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
