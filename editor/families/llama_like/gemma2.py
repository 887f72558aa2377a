"""Gemma 2: norms around the MLP, soft caps, and a sliding window in every other layer.

The soft caps limit attention scores (so attention is eager) and logits.
"""

from typing import Any

from torch import Tensor

from factd.editor.families import stream_of
from factd.editor.families._kv_cache import KvState, causal_mask, positions, rotations
from factd.editor.families.llama_like._layout import llama_layout


def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
    """One decoder layer, causal, within the window where the layer has one."""
    window = layer.self_attn.sliding_window
    return stream_of(
        layer(
            hidden,
            attention_mask=causal_mask(hidden, past, window, always=True),
            position_ids=positions(hidden, past),
            position_embeddings=rotations(model.model.rotary_emb, hidden, past),
            past_key_values=past,
        )
    )


FAMILY = llama_layout(
    block=block,
    attention="eager",
    mlp_norm="model.layers.{}.post_feedforward_layernorm",
    softcap="final_logit_softcapping",
)
