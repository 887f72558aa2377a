"""OPT: learned positions, biases everywhere.

opt-350m, whose norms stand behind the sums, has no final norm and is refused.
"""

from typing import Any

import torch
from torch import Tensor

from factd.editor.families import BiasCarrier, Family, stream_of
from factd.editor.families._kv_cache import KvState, causal_mask, positions


def embed(model: Any, ids: Tensor) -> Tensor:
    """Token and position embeddings, (rows, length, d)."""
    decoder = model.model.decoder
    ones = torch.ones(ids.shape, device=ids.device)
    at = positions(ids).expand(ids.shape)
    return stream_of(decoder.embed_tokens(ids) + decoder.embed_positions(ones, 0, position_ids=at))


def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
    """One layer, causal."""
    return stream_of(layer(hidden, attention_mask=causal_mask(hidden, past), past_key_values=past))


FAMILY = Family(
    blocks="model.decoder.layers",
    mlp_out="model.decoder.layers.{}.fc2",
    attention_out="model.decoder.layers.{}.self_attn.out_proj",
    norm="model.decoder.final_layer_norm",
    embed=embed,
    block=block,
    carrier=BiasCarrier(module="model.decoder.layers.{}.self_attn.out_proj"),
)
