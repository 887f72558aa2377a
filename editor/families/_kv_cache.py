"""Attention's keys and values of earlier tokens, kept so that those tokens need not be run again.

Attention is causal: the tokens before a position do not depend on it. `KvCache` and `KvRecorder`
both offer transformers' `Cache.update`, which is all that attention modules ask of a cache.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

FAR = 1 << 30  # a position that no token may look at


@dataclass(frozen=True)
class KvCache:
    """Keys and values of earlier tokens, per block; each row is padded on the right."""

    keys: Mapping[int, Tensor]  # block -> (rows, heads, longest, d_head)
    values: Mapping[int, Tensor]
    lengths: Tensor  # (rows,) int64, how many tokens of each row are real
    longest: int
    computed: dict[Any, Any] = field(
        default_factory=dict, compare=False
    )  # masks and rotations, which depend on `lengths` alone

    def update(self, keys: Tensor, values: Tensor, block: int, *_: Any) -> tuple[Tensor, Tensor]:
        """The keys and values that attention sees: the cached ones, then the given ones."""
        return torch.cat([self.keys[block], keys], 2), torch.cat([self.values[block], values], 2)

    def of_rows(self, rows: Tensor) -> "KvCache":
        """The cache of some rows, by number (n,) int64; a number may occur several times."""
        return KvCache(
            {block: kept[rows] for block, kept in self.keys.items()},
            {block: kept[rows] for block, kept in self.values.items()},
            self.lengths[rows],
            self.longest,
        )


@dataclass(frozen=True)
class KvRecorder:
    """Records the keys and values of texts that are run from their first token."""

    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)

    def update(self, keys: Tensor, values: Tensor, block: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Records a block's keys and values and returns them unchanged."""
        self.keys[block], self.values[block] = keys.detach(), values.detach()
        return keys, values

    def cache(self, lengths: Tensor) -> KvCache:
        """The recorded tokens as a cache: of each row its first `lengths` (rows,) tokens."""
        longest = next(iter(self.keys.values())).shape[2]
        return KvCache(self.keys, self.values, lengths, longest)


KvState = KvCache | KvRecorder | None  # None and a recorder: texts start with the tokens that run


def positions(hidden: Tensor, past: KvState = None) -> Tensor:
    """Where a stream's tokens (rows, length, d) stand in their texts: (1 or rows, length)."""
    run = torch.arange(hidden.shape[1], device=hidden.device)[None]
    return past.lengths[:, None] + run if isinstance(past, KvCache) else run


def key_positions(hidden: Tensor, past: KvState) -> Tensor:
    """The positions of all tokens that attention sees, the cached ones first.

    The result is (1 or rows, longest + length) int64. Padding of the cache gets the position `FAR`.
    """
    own = positions(hidden, past)
    if not isinstance(past, KvCache):
        return own
    before = torch.arange(past.longest, device=hidden.device)[None]
    return torch.cat([torch.where(before < past.lengths[:, None], before, FAR), own], 1)


def causal_mask(
    hidden: Tensor, past: KvState = None, window: int | None = None, *, always: bool = False
) -> Tensor | None:
    """The mask to add to attention scores, (1 or rows, 1, length, all), in the stream's dtype.

    It is 0 where a token may look, else the lowest number of the dtype. window: how many tokens
    back a token may look; None: all. The result is None where plain causal attention is the same
    (sdpa then applies it itself), except with `always`.
    """
    if isinstance(past, KvCache):
        kind = (hidden.shape[1], window, hidden.dtype)
        if kind not in past.computed:
            past.computed[kind] = _mask(hidden, past, window)
        mask: Tensor = past.computed[kind]
        return mask
    if not always and (window is None or hidden.shape[1] <= window):
        return None
    return _mask(hidden, past, window)


def rotations(module: Any, hidden: Tensor, past: KvState, *kind: Any) -> Any:
    """Rotary embeddings of a stream's tokens: cosines and sines, each (1 or rows, length, d_head).

    module: the model's rotary embedding; kind: further arguments for it. Behind a cache they are
    looked up in one table, because a cosine in the last few numbers of a tensor is rounded
    differently from the others, and a row's values must not depend on how many rows stand beside
    it.
    """
    if not isinstance(past, KvCache):
        return module(hidden, positions(hidden), *kind)
    name = ("rotary", hidden.shape[1], hidden.dtype, *kind)
    if name not in past.computed:
        every = torch.arange(past.longest + hidden.shape[1], device=hidden.device)[None]
        at = positions(hidden, past)
        past.computed[name] = tuple(part[0][at] for part in module(hidden, every, *kind))
    return past.computed[name]


def _mask(hidden: Tensor, past: KvState, window: int | None) -> Tensor:
    back = positions(hidden, past)[:, :, None] - key_positions(hidden, past)[:, None, :]
    seen = (back >= 0) & (back < (window or FAR))
    return torch.where(seen, 0.0, torch.finfo(hidden.dtype).min).to(hidden.dtype)[:, None]
