"""Falcon (and Aguila): attention and MLP side by side, rotary positions.

Models with ALiBi positions are refused, because they do not pass the dry run of `load_model`.
"""

from typing import Any

from torch import Tensor

from factd.editor.families import BiasCarrier, Family, stream_of, token_embeddings
from factd.editor.families._kv_cache import KvState, causal_mask, positions, rotations


def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
    """One layer, causal."""
    at = positions(hidden, past)
    return stream_of(
        layer(
            hidden,
            alibi=None,
            attention_mask=causal_mask(hidden, past, always=True),
            position_ids=at,
            position_embeddings=rotations(model.transformer.rotary_emb, hidden, past),
            layer_past=past,
        )
    )


LAYER = "transformer.h.{}"

FAMILY = Family(
    blocks="transformer.h",
    mlp_out=f"{LAYER}.mlp.dense_4h_to_h",
    attention_out=f"{LAYER}.self_attention.dense",
    norm="transformer.ln_f",
    embed=token_embeddings("transformer.word_embeddings"),
    block=block,
    carrier=BiasCarrier(
        module=f"{LAYER}.self_attention.dense",
        siblings=(
            f"{LAYER}.self_attention.query_key_value",
            f"{LAYER}.mlp.dense_h_to_4h",
            f"{LAYER}.mlp.dense_4h_to_h",
        ),
        config={"bias": True},
    ),
)
