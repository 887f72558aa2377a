"""Model families: where a model class keeps what the editor needs. One small file for each family.

A file is named as `model_type` in config.json and holds a `FAMILY`. Families laid out like Llama
lie in the folder `llama_like`. Nothing here computes edits.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from factd.editor.families._kv_cache import KvState

Embed = Callable[[Any, Tensor], Tensor]  # (model, ids (rows, length)) -> stream (rows, length, d)
Block = Callable[  # (model, block, stream (rows, length, d), KvState) -> stream, causal
    [Any, Any, Tensor, KvState], Tensor
]


@dataclass(frozen=True, kw_only=True)
class BiasCarrier:
    """The bias by which a checkpoint carries head corrections for `from_pretrained`.

    A head correction adds a constant vector (d,) where the heads of a block write. If the base has
    no such bias, the written checkpoint gets it, zeros for `siblings`, and the keys of `config`;
    see editor/deltas/checkpoint.py.
    """

    module: str  # the module whose bias takes the constant; `{}` is the number of the block
    siblings: tuple[str, ...] = ()  # modules that get a bias by the same switch; theirs is zero
    config: Mapping[str, Any] = field(default_factory=dict)  # keys to set in config.json
    requires: Mapping[str, tuple[Any, ...]] = field(
        default_factory=dict
    )  # configuration key -> the values that the base may have


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where one model class keeps its parts: names of modules, `{}` for the number of the block."""

    blocks: str  # the list of blocks
    mlp_out: str  # the second MLP matrix: the weight that is edited
    attention_out: str | None  # the attention output projection; None: the class has no attention
    norm: str  # the norm before the unembedding
    embed: Embed
    block: Block
    unembedding: str = "lm_head"
    transposed: bool = False  # the weight is stored (d_in, d_out), as Conv1D does
    attention: str = "sdpa"  # "eager" where the model does what sdpa cannot
    cache: str = "past_key_values"  # the model's argument for its cache of earlier tokens
    keeps_past: bool = True  # attention: cached keys and values replace earlier tokens; False: SSM
    mlp_norm: str | None = None  # an RMS norm between the MLP output and the residual stream
    softcap: str = ""  # configuration key of tanh's limit on the logits
    renames: tuple[tuple[str, str], ...] = ()  # (beginning of a name in memory, in the files)
    carrier: BiasCarrier | None = None  # None: a checkpoint of this class has no place for them


def name_in(family: Family, name: str, names: Collection[str]) -> str | None:
    """The name of a tensor of the model in a checkpoint, or None if the checkpoint lacks it.

    name: in memory; names: all tensor names of the checkpoint.
    """
    if name in names:
        return name
    renamed = (new + name.removeprefix(old) for old, new in family.renames if name.startswith(old))
    return next((n for n in renamed if n in names), None)


def stream_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The stream in a module's output: a tensor in transformers 5, the first of a tuple before."""
    return output if isinstance(output, Tensor) else output[0]


def token_embeddings(name: str) -> Embed:
    """An `Embed` that looks tokens up in the embedding module of this name."""

    def embed(model: Any, ids: Tensor) -> Tensor:
        return stream_of(model.get_submodule(name)(ids))

    return embed
