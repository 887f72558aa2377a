"""Model families: where a model class keeps what the editor needs. One small file each, named as `config.model_type`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where one model class keeps its parts. Names are of modules, with `{}` for the number of the block."""

    blocks: str  # the list of blocks
    mlp_out: str  # the second MLP matrix: the weight that is edited
    attention_out: str  # the attention output projection
    norm: str  # the norm before the unembedding
    unembedding: str
    transposed: bool  # the weight is stored (d_in, d_out), as Conv1D does
    embed: Callable[
        [Any, Tensor], Tensor
    ]  # (model, ids (rows, length)) -> residual stream (rows, length, d)
    block: Callable[
        [Any, Any, Tensor], Tensor
    ]  # (model, block, residual stream) -> residual stream, causal


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """What a block returns: a tensor in transformers 5, the first of a tuple before."""
    return output if isinstance(output, Tensor) else output[0]
