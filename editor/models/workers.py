"""Work that is independent for each fact (values, keys, probes), run in this process or by workers.

A task is a function of a model and some items that gives a result for each item. The results do not
depend on how the items are distributed. `EditableModel.workers` says who runs the tasks of a model.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

Task = Callable[  # (model, items, **shared) -> (number of the item, its result)
    ..., Iterator[tuple[int, Any]]
]


class Workers(Protocol):
    """Processes that hold the same model."""

    def run(self, task: Task, items: Sequence[Any], **shared: Any) -> Iterator[tuple[int, Any]]:
        """(number of the item, its result) of every item, once each, as they are completed.

        shared: further arguments of the task, the same in every call.
        """
        ...


def run_task(
    model: Any, task: Task, items: Sequence[Any], **shared: Any
) -> Iterator[tuple[int, Any]]:
    """(number of the item, its result) of every item, by the model's workers or this process.

    Raises: what the task raises; WorkerLost: workers died or do not answer.
    """
    if model.workers is None or not items:
        return task(model, items, **shared)
    results: Iterator[tuple[int, Any]] = model.workers.run(task, items, **shared)
    return results


def in_order(results: Iterator[tuple[int, Any]], count: int) -> list[Any]:
    """The results of `run_task` in the order of the items. count: the number of items."""
    by_number = dict(results)
    return [by_number[number] for number in range(count)]
