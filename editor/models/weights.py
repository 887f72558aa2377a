"""Weights that are changed for a while and then put back."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import Tensor


@contextmanager
def weights_restored(weights: Sequence[Tensor]) -> Iterator[None]:
    """On leaving the context every bit of these weights is as before."""
    saved = [weight.detach().clone() for weight in weights]
    try:
        yield
    finally:
        for weight, before in zip(weights, saved, strict=True):
            weight.data.copy_(before)
