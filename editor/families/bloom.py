"""BLOOM: ALiBi positions, biases everywhere."""

from typing import Any

from torch import Tensor

from factd.editor.families import BiasCarrier, Family, stream_of
from factd.editor.families._kv_cache import FAR, KvState, causal_mask, key_positions


def embed(model: Any, ids: Tensor) -> Tensor:
    """Normalised token embeddings, (rows, length, d)."""
    backbone = model.transformer
    return stream_of(backbone.word_embeddings_layernorm(backbone.word_embeddings(ids)))


def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
    """One block, causal."""
    backbone = model.transformer
    real = (key_positions(hidden, past) < FAR).long().expand(len(hidden), -1)
    alibi = backbone.build_alibi_tensor(real, backbone.num_heads, dtype=hidden.dtype)
    mask = causal_mask(hidden, past, always=True)
    return stream_of(layer(hidden, alibi=alibi, attention_mask=mask, layer_past=past))


FAMILY = Family(
    blocks="transformer.h",
    mlp_out="transformer.h.{}.mlp.dense_4h_to_h",
    attention_out="transformer.h.{}.self_attention.dense",
    norm="transformer.ln_f",
    embed=embed,
    block=block,
    attention="eager",
    carrier=BiasCarrier(module="transformer.h.{}.self_attention.dense"),
)
