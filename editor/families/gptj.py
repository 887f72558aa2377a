"""GPT-J: attention and MLP side by side.

Its attention output has no bias. Attention and MLP of a block are added to the stream in one sum,
so head corrections go into the bias of the MLP's `fc_out`.
"""

from typing import Any

from torch import Tensor

from factd.editor.families import BiasCarrier, Family, stream_of, token_embeddings
from factd.editor.families._kv_cache import KvState, causal_mask, positions


def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
    """One block, causal."""
    mask, at = causal_mask(hidden, past, always=True), positions(hidden, past)
    at = at.expand(len(hidden), -1)
    return stream_of(layer(hidden, attention_mask=mask, position_ids=at, layer_past=past))


FAMILY = Family(
    blocks="transformer.h",
    mlp_out="transformer.h.{}.mlp.fc_out",
    attention_out="transformer.h.{}.attn.out_proj",
    norm="transformer.ln_f",
    embed=token_embeddings("transformer.wte"),
    block=block,
    attention="eager",
    carrier=BiasCarrier(module="transformer.h.{}.mlp.fc_out"),
)
