"""Gemma 2: norms around the MLP, soft caps on attention scores (so eager attention) and logits, every other layer local."""

from typing import Any

from torch import Tensor

from factd.editor.families import first, llama_like
from factd.editor.families._kv_cache import Before, causal_mask, positions, rotations


def block(model: Any, layer: Any, hidden: Tensor, past: Before) -> Tensor:
    """One decoder layer, causal, within the window where the layer is local."""
    at = positions(hidden, past)
    window = layer.self_attn.sliding_window
    return first(
        layer(
            hidden,
            attention_mask=causal_mask(hidden, past, window, always=True),
            position_ids=at,
            position_embeddings=rotations(model.model.rotary_emb, hidden, past),
            past_key_values=past,
        )
    )


FAMILY = llama_like(
    block=block,
    attention="eager",
    mlp_norm="model.layers.{}.post_feedforward_layernorm",
    softcap="final_logit_softcapping",
)
