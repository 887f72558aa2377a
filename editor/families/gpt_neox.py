"""GPT-NeoX and Pythia: attention and MLP side by side, rotary positions on a part of each head."""

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
            attention_mask=causal_mask(hidden, past),
            position_ids=at,
            position_embeddings=rotations(model.gpt_neox.rotary_emb, hidden, past),
            layer_past=past,
        )
    )


FAMILY = Family(
    blocks="gpt_neox.layers",
    mlp_out="gpt_neox.layers.{}.mlp.dense_4h_to_h",
    attention_out="gpt_neox.layers.{}.attention.dense",
    norm="gpt_neox.final_layer_norm",
    embed=token_embeddings("gpt_neox.embed_in"),
    block=block,
    carrier=BiasCarrier(
        module="gpt_neox.layers.{}.attention.dense",
        siblings=("gpt_neox.layers.{}.attention.query_key_value",),
        config={"attention_bias": True},
    ),
)
