"""OPT: learned positions, biases everywhere; opt-350m (norms behind the sums) has no final norm and is refused."""

from typing import Any

import torch
from torch import Tensor

from factd.editor.families import Carrier, Family, first
from factd.editor.families._kv_cache import Before, causal_mask, positions


def embed(model: Any, ids: Tensor) -> Tensor:
    """Token and position embeddings, (rows, length, d)."""
    found = model.model.decoder
    ones = torch.ones(ids.shape, device=ids.device)
    at = positions(ids).expand(ids.shape)
    return first(found.embed_tokens(ids) + found.embed_positions(ones, 0, position_ids=at))


def block(model: Any, layer: Any, hidden: Tensor, past: Before) -> Tensor:
    """One layer, causal."""
    return first(layer(hidden, attention_mask=causal_mask(hidden, past), past_key_values=past))


FAMILY = Family(
    blocks="model.decoder.layers",
    mlp_out="model.decoder.layers.{}.fc2",
    attention_out="model.decoder.layers.{}.self_attn.out_proj",
    norm="model.decoder.final_layer_norm",
    embed=embed,
    block=block,
    carrier=Carrier(module="model.decoder.layers.{}.self_attn.out_proj"),
)
