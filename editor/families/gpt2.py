"""GPT-2: learned positions, layer norms, Conv1D weights stored (d_in, d_out)."""

from typing import Any

from torch import Tensor

from factd.editor.families import BiasCarrier, Family, stream_of
from factd.editor.families._kv_cache import KvState, causal_mask, positions


def embed(model: Any, ids: Tensor) -> Tensor:
    """Token and position embeddings, (rows, length, d)."""
    return stream_of(model.transformer.wte(ids) + model.transformer.wpe(positions(ids)))


def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
    """One block, causal (right padding is never looked at)."""
    return stream_of(layer(hidden, attention_mask=causal_mask(hidden, past), past_key_values=past))


FAMILY = Family(
    blocks="transformer.h",
    mlp_out="transformer.h.{}.mlp.c_proj",
    attention_out="transformer.h.{}.attn.c_proj",
    norm="transformer.ln_f",
    transposed=True,
    embed=embed,
    block=block,
    carrier=BiasCarrier(module="transformer.h.{}.attn.c_proj"),
)
