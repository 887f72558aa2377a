"""Llama: rotary positions, RMS norms, gated MLP."""

from typing import Any

import torch
from torch import Tensor

from editor.families import Family, first


def embed(model: Any, ids: Tensor) -> Tensor:
    """Token embeddings, (rows, length, d)."""
    return first(model.model.embed_tokens(ids))


def block(model: Any, layer: Any, hidden: Tensor) -> Tensor:
    """One decoder layer over whole texts from position 0, causal (no mask: right padding is never looked at)."""
    positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
    rotary = model.model.rotary_emb(hidden, position_ids=positions)
    return first(layer(hidden, position_ids=positions, position_embeddings=rotary))


FAMILY = Family(
    blocks="model.layers",
    mlp_out="model.layers.{}.mlp.down_proj",
    attention_out="model.layers.{}.self_attn.o_proj",
    norm="model.norm",
    unembedding="lm_head",
    transposed=False,
    embed=embed,
    block=block,
)
