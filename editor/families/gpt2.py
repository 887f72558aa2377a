"""GPT-2: learned positions, layer norms, Conv1D weights stored (d_in, d_out)."""

from typing import Any

from torch import Tensor

from factd.editor.families import Carrier, Family, first
from factd.editor.families._kv_cache import Before, causal_mask, positions


def embed(model: Any, ids: Tensor) -> Tensor:
    """Token and position embeddings, (rows, length, d)."""
    return first(model.transformer.wte(ids) + model.transformer.wpe(positions(ids)))


def block(model: Any, layer: Any, hidden: Tensor, past: Before) -> Tensor:
    """One block, causal (right padding is never looked at)."""
    return first(layer(hidden, attention_mask=causal_mask(hidden, past), past_key_values=past))


FAMILY = Family(
    blocks="transformer.h",
    mlp_out="transformer.h.{}.mlp.c_proj",
    attention_out="transformer.h.{}.attn.c_proj",
    norm="transformer.ln_f",
    transposed=True,
    embed=embed,
    block=block,
    carrier=Carrier(module="transformer.h.{}.attn.c_proj"),
)
