"""The layout of Llama, which the families of this folder take over with some changes."""

from typing import Any

from torch import Tensor

from factd.editor.families import BiasCarrier, Block, Family, stream_of, token_embeddings
from factd.editor.families._kv_cache import KvState, causal_mask, positions, rotations

ATTENTION_OUT = "model.layers.{}.self_attn.o_proj"
ATTENTION_INPUTS = tuple(f"model.layers.{{}}.self_attn.{part}_proj" for part in "qkv")
WRITTEN_AS_LLAMA = {  # what config.json says of a checkpoint whose own class drops the output bias
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": True,
    "mlp_bias": False,
}


def rotary_block(backbone: str) -> Block:
    """Runs decoder layers that take rotary embeddings, causally, within the model's sliding window.

    backbone: the name of the module that holds `rotary_emb`. Right padding is never looked at.
    """

    def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
        window = getattr(model.config, "sliding_window", None)
        return stream_of(
            layer(
                hidden,
                attention_mask=causal_mask(hidden, past, window),
                position_ids=positions(hidden, past),
                position_embeddings=rotations(
                    model.get_submodule(backbone).rotary_emb, hidden, past
                ),
                past_key_values=past,
            )
        )

    return block


def llama_layout(**changes: Any) -> Family:
    """A family laid out as Llama, with some fields of `Family` changed."""
    plain: dict[str, Any] = {
        "blocks": "model.layers",
        "mlp_out": "model.layers.{}.mlp.down_proj",
        "attention_out": ATTENTION_OUT,
        "norm": "model.norm",
        "embed": token_embeddings("model.embed_tokens"),
        "block": rotary_block("model"),
        "carrier": BiasCarrier(
            module=ATTENTION_OUT, siblings=ATTENTION_INPUTS, config={"attention_bias": True}
        ),
    }
    return Family(**(plain | changes))


def written_as_llama(requires: dict[str, tuple[Any, ...]]) -> BiasCarrier:
    """Head corrections in a checkpoint written as Llama, because its own class drops the bias.

    requires: configuration keys, each with the values for which Llama computes the same.
    """
    return BiasCarrier(
        module=ATTENTION_OUT, siblings=ATTENTION_INPUTS, config=WRITTEN_AS_LLAMA, requires=requires
    )
