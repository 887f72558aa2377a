"""What stands before the tokens that are run: attention's keys and values, kept so that it need not be run again.

Causal attention: tokens before a position do not depend on it. Both classes speak transformers' `Cache.update`, which is all
that attention modules ask of a cache.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Past:
    """Keys and values of earlier tokens, per block; a row's stand on the left and may be padded on their right."""

    keys: Mapping[int, Tensor]  # block -> (rows, heads, longest, d_head)
    values: Mapping[int, Tensor]
    lengths: Tensor  # (rows,) how many of each row's are real
    longest: int
    made: dict[Any, Any] = field(default_factory=dict, compare=False)  # from lengths alone, once

    def update(self, keys: Tensor, values: Tensor, block: int, *_: Any) -> tuple[Tensor, Tensor]:
        """What attention looks at in a block: the past's keys and values, then those of the tokens that are run."""
        return torch.cat([self.keys[block], keys], 2), torch.cat([self.values[block], values], 2)

    def of_rows(self, rows: Tensor) -> "Past":
        """The past of some rows, by number; a row may be named several times."""
        return Past(
            {block: held[rows] for block, held in self.keys.items()},
            {block: held[rows] for block, held in self.values.items()},
            self.lengths[rows],
            self.longest,
        )


@dataclass(frozen=True)
class Recording:
    """Notes the keys and values of texts that are run from their first token."""

    keys: dict[int, Tensor] = field(default_factory=dict)
    values: dict[int, Tensor] = field(default_factory=dict)

    def update(self, keys: Tensor, values: Tensor, block: int, *_: Any) -> tuple[Tensor, Tensor]:
        """Notes and hands back."""
        self.keys[block], self.values[block] = keys.detach(), values.detach()
        return keys, values

    def past(self, lengths: Tensor) -> Past:
        """What was noted, of each row its first `lengths` (rows,) tokens."""
        longest = next(iter(self.keys.values())).shape[2]
        return Past(self.keys, self.values, lengths, longest)


Before = Past | Recording | None  # None: texts start with the tokens that are run


def positions(hidden: Tensor, past: Before = None) -> Tensor:
    """Where the tokens of a stream (rows, length, d) stand in their texts, (1 or rows, length)."""
    run = torch.arange(hidden.shape[1], device=hidden.device)[None]
    return past.lengths[:, None] + run if isinstance(past, Past) else run


def key_positions(hidden: Tensor, past: Before) -> Tensor:
    """Where the tokens stand that attention may look at, (1 or rows, longest past + length); padding of the past: far behind."""
    own = positions(hidden, past)
    if not isinstance(past, Past):
        return own
    before = torch.arange(past.longest, device=hidden.device)[None]
    return torch.cat([torch.where(before < past.lengths[:, None], before, FAR), own], 1)


FAR = 1 << 30  # a position that no token may look at


def causal_mask(
    hidden: Tensor, past: Before = None, window: int | None = None, *, always: bool = False
) -> Tensor | None:
    """What is added to attention scores (1 or rows, 1, length, all): 0 where a token may look, the lowest number elsewhere.

    None where plain causal attention says the same (sdpa then applies it itself), unless it is wanted `always`.
    """
    if isinstance(past, Past):
        kind = (hidden.shape[1], window, hidden.dtype)
        if kind not in past.made:
            past.made[kind] = _mask(hidden, past, window)
        found: Tensor = past.made[kind]
        return found
    if not always and (window is None or hidden.shape[1] <= window):
        return None
    return _mask(hidden, past, window)


def rotations(module: Any, hidden: Tensor, past: Before, *kind: Any) -> Any:
    """Rotary positions of the tokens of a stream, as the model's module gives them: a pair (1 or rows, length, d_head).

    Behind a past they are looked up in one table: a cosine in the last few numbers of a tensor is rounded otherwise than the
    others, and a row's must not depend on how many rows stand beside it.
    """
    if not isinstance(past, Past):
        return module(hidden, positions(hidden), *kind)
    name = ("rotary", hidden.shape[1], hidden.dtype, *kind)
    if name not in past.made:
        all_of_them = torch.arange(past.longest + hidden.shape[1], device=hidden.device)[None]
        at = positions(hidden, past)
        past.made[name] = tuple(part[0][at] for part in module(hidden, all_of_them, *kind))
    return past.made[name]


def _mask(hidden: Tensor, past: Before, window: int | None) -> Tensor:
    back = positions(hidden, past)[:, :, None] - key_positions(hidden, past)[:, None, :]
    seen = (back >= 0) & (back < (window or FAR))
    return torch.where(seen, 0.0, torch.finfo(hidden.dtype).min).to(hidden.dtype)[:, None]
