"""Gemma 2: norms around the MLP, soft caps on attention scores (so eager attention) and logits, every other layer local."""

from typing import Any

from torch import Tensor

from editor.families import causal_mask, first, llama_like, positions


def block(model: Any, layer: Any, hidden: Tensor) -> Tensor:
    """One decoder layer over whole texts from position 0, causal, within the window where the layer is local."""
    at = positions(hidden)
    window = layer.self_attn.sliding_window
    return first(
        layer(
            hidden,
            attention_mask=causal_mask(hidden, window, always=True),
            position_ids=at,
            position_embeddings=model.model.rotary_emb(hidden, at),
        )
    )


FAMILY = llama_like(
    block=block,
    attention="eager",
    mlp_norm="model.layers.{}.post_feedforward_layernorm",
    softcap="final_logit_softcapping",
)
