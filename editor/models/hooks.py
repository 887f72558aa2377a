"""Reading and moving activations: hooks that are always taken off again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


@contextmanager
def captured_input(module: Any) -> Iterator[list[Tensor]]:
    """The inputs that a module is called with while the context is open, in order."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def captured_output(module: Any) -> Iterator[list[Tensor]]:
    """What a module (whose output is a tensor) gives while the context is open, in order."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output.detach()))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def moved_output(module: Any, move: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """A module whose output (a tensor) is replaced by `move` of it while the context is open."""
    handle = module.register_forward_hook(lambda _, __, output: move(output))
    try:
        yield
    finally:
        handle.remove()
