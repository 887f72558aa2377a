"""Gemma 3, text only: norms around the MLP; local layers have their own rotary positions."""

from typing import Any

from torch import Tensor

from factd.editor.families import Block, stream_of
from factd.editor.families._kv_cache import KvState, causal_mask, positions, rotations
from factd.editor.families.llama_like._layout import llama_layout


def gemma_block(backbone: str) -> Block:
    """Runs decoder layers causally, within the window where a layer is local.

    backbone: the name of the module that holds `rotary_emb`.
    """

    def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
        rotary = model.get_submodule(backbone).rotary_emb
        kind = layer.self_attn.layer_type
        window = layer.self_attn.sliding_window if kind == "sliding_attention" else None
        return stream_of(
            layer(
                hidden,
                attention_mask=causal_mask(hidden, past, window),
                position_ids=positions(hidden, past),
                position_embeddings=rotations(rotary, hidden, past, kind),
                past_key_values=past,
            )
        )

    return block


FAMILY = llama_layout(
    block=gemma_block("model"),
    mlp_norm="model.layers.{}.post_feedforward_layernorm",
    softcap="final_logit_softcapping",
)
