"""Model families: where a model class keeps what the editor needs. One small file each, named as `config.model_type`."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from factd.editor.families._kv_cache import Before, causal_mask, positions, rotations

Embed = Callable[[Any, Tensor], Tensor]  # (model, ids (rows, length)) -> stream (rows, length, d)
Block = Callable[
    [Any, Any, Tensor, Before], Tensor
]  # (model, block, stream, what stands before it) -> stream, causal


@dataclass(frozen=True, kw_only=True)
class Carrier:
    """How a checkpoint keeps a constant that is added where the heads of a block write, so that `from_pretrained` reads it again.

    Where a base lacks the bias, the checkpoint gets it, zeros for `siblings`, and `config`; see editor/deltas/checkpoint.py.
    """

    module: str  # the module whose bias takes it, `{}` for the number of the block
    siblings: tuple[str, ...] = ()  # modules that the same switch gives a bias, which is zero
    config: Mapping[str, Any] = field(default_factory=dict)  # what config.json then says
    requires: Mapping[str, tuple[Any, ...]] = field(
        default_factory=dict
    )  # values it may have before


@dataclass(frozen=True, kw_only=True)
class Family:
    """Where one model class keeps its parts. Names are of modules, with `{}` for the number of the block."""

    blocks: str  # the list of blocks
    mlp_out: str  # the second MLP matrix: the weight that is edited
    attention_out: str | None  # the attention output projection; None: there is no attention
    norm: str  # the norm before the unembedding
    embed: Embed
    block: Block
    unembedding: str = "lm_head"
    transposed: bool = False  # the weight is stored (d_in, d_out), as Conv1D does
    attention: str = "sdpa"  # "eager" where the model does what sdpa cannot
    cache: str = "past_key_values"  # what the model calls its cache of earlier tokens
    keeps_past: bool = (
        True  # keys and values of earlier tokens can stand for them; False: a state space
    )
    mlp_norm: str | None = None  # an RMS norm between the MLP output and the residual stream
    softcap: str = ""  # configuration key of tanh's limit on the logits
    renames: tuple[tuple[str, str], ...] = ()  # (beginning of a name in memory, in the files)
    carrier: Carrier | None = None  # None: no checkpoint of this class can carry head corrections


def name_in(family: Family, name: str, names: Collection[str]) -> str | None:
    """What a checkpoint with these tensor names calls a tensor of the model in memory; None: it has none such."""
    if name in names:
        return name
    other = (new + name.removeprefix(old) for old, new in family.renames if name.startswith(old))
    return next((n for n in other if n in names), None)


def first(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """What a block returns: a tensor in transformers 5, the first of a tuple before."""
    return output if isinstance(output, Tensor) else output[0]


def embedded(name: str) -> Embed:
    """Token embeddings of the module of this name."""

    def embed(model: Any, ids: Tensor) -> Tensor:
        return first(model.get_submodule(name)(ids))

    return embed


def rotary(backbone: str) -> Block:
    """Decoder layers that are given rotary embeddings (right padding is never looked at)."""

    def block(model: Any, layer: Any, hidden: Tensor, past: Before) -> Tensor:
        at = positions(hidden, past)
        turned = rotations(model.get_submodule(backbone).rotary_emb, hidden, past)
        mask = causal_mask(hidden, past, getattr(model.config, "sliding_window", None))
        return first(
            layer(
                hidden,
                attention_mask=mask,
                position_ids=at,
                position_embeddings=turned,
                past_key_values=past,
            )
        )

    return block


LLAMA_ATTENTION = tuple(f"model.layers.{{}}.self_attn.{part}_proj" for part in "qkv")
AS_LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": True,
    "mlp_bias": False,
}


def llama_like(**changes: Any) -> Family:
    """A family laid out as Llama, with some changes."""
    plain: dict[str, Any] = {
        "blocks": "model.layers",
        "mlp_out": "model.layers.{}.mlp.down_proj",
        "attention_out": "model.layers.{}.self_attn.o_proj",
        "norm": "model.norm",
        "embed": embedded("model.embed_tokens"),
        "block": rotary("model"),
        "carrier": Carrier(
            module="model.layers.{}.self_attn.o_proj",
            siblings=LLAMA_ATTENTION,
            config={"attention_bias": True},
        ),
    }
    return Family(**(plain | changes))
