"""GPT-J: attention and MLP side by side. Its attention output has no bias, but what is added there and what is added to the
output of the MLP of the same block is one sum: head corrections go into the bias of `fc_out`."""

from typing import Any

from torch import Tensor

from factd.editor.families import Carrier, Family, embedded, first
from factd.editor.families._kv_cache import Before, causal_mask, positions


def block(model: Any, layer: Any, hidden: Tensor, past: Before) -> Tensor:
    """One block, causal."""
    mask, at = causal_mask(hidden, past, always=True), positions(hidden, past)
    at = at.expand(len(hidden), -1)
    return first(layer(hidden, attention_mask=mask, position_ids=at, layer_past=past))


FAMILY = Family(
    blocks="transformer.h",
    mlp_out="transformer.h.{}.mlp.fc_out",
    attention_out="transformer.h.{}.attn.out_proj",
    norm="transformer.ln_f",
    embed=embedded("transformer.wte"),
    block=block,
    attention="eager",
    carrier=Carrier(module="transformer.h.{}.mlp.fc_out"),
)
