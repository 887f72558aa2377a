"""Reading and replacing activations by hooks that are always removed again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor


@contextmanager
def captured_input(module: Any) -> Iterator[list[Tensor]]:
    """A list that collects the first argument of each call of a module in the context."""
    inputs: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    try:
        yield inputs
    finally:
        handle.remove()


@contextmanager
def captured_output(module: Any) -> Iterator[list[Tensor]]:
    """A list that collects the output of each call of a module in the context.

    The module's output must be a tensor.
    """
    outputs: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: outputs.append(output.detach()))
    try:
        yield outputs
    finally:
        handle.remove()


@contextmanager
def moved_output(module: Any, move: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While the context is open, a module gives `move(output)` instead of its output, a tensor."""
    handle = module.register_forward_hook(lambda _, __, output: move(output))
    try:
        yield
    finally:
        handle.remove()
