"""BLOOM: ALiBi positions, biases everywhere."""

from typing import Any

from torch import Tensor

from factd.editor.families import Carrier, Family, first
from factd.editor.families._kv_cache import FAR, Before, causal_mask, key_positions


def embed(model: Any, ids: Tensor) -> Tensor:
    """Normalised token embeddings, (rows, length, d)."""
    found = model.transformer
    return first(found.word_embeddings_layernorm(found.word_embeddings(ids)))


def block(model: Any, layer: Any, hidden: Tensor, past: Before) -> Tensor:
    """One block, causal."""
    found = model.transformer
    real = (key_positions(hidden, past) < FAR).long().expand(len(hidden), -1)
    alibi = found.build_alibi_tensor(real, found.num_heads, dtype=hidden.dtype)
    mask = causal_mask(hidden, past, always=True)
    return first(layer(hidden, alibi=alibi, attention_mask=mask, layer_past=past))


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
