"""Work that is independent per fact (values, keys, probes): done by this process, or by others that hold the model.

A task is a function of a model and some items with a result for each; the results do not depend on how the items are shared
out. The model says who does its work (`EditableModel.workers`).
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Task = Callable[
    ..., Iterator[tuple[int, Any]]
]  # (model, items, **shared) -> (number of the item, its result)


class Workers(Protocol):
    """Processes that hold the same model."""

    def share(self, task: Task, items: Sequence[Any], **shared: Any) -> Iterator[tuple[int, Any]]:
        """(number of the item, its result) of every item, once each, as they come.

        shared: what every call is given.
        """
        ...


def done(model: Any, task: Task, items: Sequence[Any], **shared: Any) -> Iterator[tuple[int, Any]]:
    """A task's results: of the model's workers, or of this process where it has none."""
    if model.workers is None or not items:
        return task(model, items, **shared)
    found: Iterator[tuple[int, Any]] = model.workers.share(task, items, **shared)
    return found


def in_order(results: Iterator[tuple[int, Any]], count: int) -> list[Any]:
    """The results in the order of their items."""
    found = dict(results)
    return [found[number] for number in range(count)]
