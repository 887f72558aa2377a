"""GPT-2: learned positions, layer norms, Conv1D weights stored (d_in, d_out)."""

from typing import Any

import torch
from torch import Tensor

from editor.families import Family, first


def embed(model: Any, ids: Tensor) -> Tensor:
    """Token and position embeddings, (rows, length, d)."""
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    return first(model.transformer.wte(ids) + model.transformer.wpe(positions))


def block(model: Any, layer: Any, hidden: Tensor) -> Tensor:
    """One block over whole texts from position 0, causal (no mask: right padding is never looked at)."""
    return first(layer(hidden))


FAMILY = Family(
    blocks="transformer.h",
    mlp_out="transformer.h.{}.mlp.c_proj",
    attention_out="transformer.h.{}.attn.c_proj",
    norm="transformer.ln_f",
    unembedding="lm_head",
    transposed=True,
    embed=embed,
    block=block,
)
