"""Gemma 3, text only: norms before and after the MLP, local layers with rotary positions of their own."""

from typing import Any

from torch import Tensor

from factd.editor.families import Block, first, llama_like
from factd.editor.families._kv_cache import Before, causal_mask, positions, rotations


def gemma_block(backbone: str) -> Block:
    """Decoder layers causal, within the window where the layer is local."""

    def block(model: Any, layer: Any, hidden: Tensor, past: Before) -> Tensor:
        found, at = model.get_submodule(backbone), positions(hidden, past)
        kind = layer.self_attn.layer_type
        window = layer.self_attn.sliding_window if kind == "sliding_attention" else None
        return first(
            layer(
                hidden,
                attention_mask=causal_mask(hidden, past, window),
                position_ids=at,
                position_embeddings=rotations(found.rotary_emb, hidden, past, kind),
                past_key_values=past,
            )
        )

    return block


FAMILY = llama_like(
    block=gemma_block("model"),
    mlp_norm="model.layers.{}.post_feedforward_layernorm",
    softcap="final_logit_softcapping",
)
