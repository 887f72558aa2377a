"""Splitting a long iterable into lists of limited length."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size` items, in the order of the items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
