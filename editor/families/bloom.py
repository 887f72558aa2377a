"""BLOOM: ALiBi positions, biases everywhere."""

from typing import Any

import torch
from torch import Tensor

from editor.families import Carrier, Family, causal_mask, first


def embed(model: Any, ids: Tensor) -> Tensor:
    """Normalised token embeddings, (rows, length, d)."""
    found = model.transformer
    return first(found.word_embeddings_layernorm(found.word_embeddings(ids)))


def block(model: Any, layer: Any, hidden: Tensor) -> Tensor:
    """One block over whole texts from position 0, causal."""
    found = model.transformer
    ones = torch.ones(hidden.shape[:2], device=hidden.device)
    alibi = found.build_alibi_tensor(ones, found.num_heads, dtype=hidden.dtype)
    return first(layer(hidden, alibi=alibi, attention_mask=causal_mask(hidden, always=True)))


FAMILY = Family(
    blocks="transformer.h",
    mlp_out="transformer.h.{}.mlp.dense_4h_to_h",
    attention_out="transformer.h.{}.self_attention.dense",
    norm="transformer.ln_f",
    embed=embed,
    block=block,
    attention="eager",
    carrier=Carrier(module="transformer.h.{}.self_attention.dense"),
)
