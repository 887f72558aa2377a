"""Mamba: no attention, no MLP; `out_proj` of the mixer takes the edit (arXiv:2404.03646). MEMAT has nothing to correct here."""

from typing import Any

from torch import Tensor

from factd.editor.families import Family, embedded, first
from factd.editor.families._kv_cache import Before


def block(model: Any, layer: Any, hidden: Tensor, past: Before) -> Tensor:
    """One block over whole texts from the first token (past is None); a state space looks only back."""
    return first(layer(hidden))


FAMILY = Family(
    blocks="backbone.layers",
    mlp_out="backbone.layers.{}.mixer.out_proj",
    attention_out=None,
    norm="backbone.norm_f",
    embed=embedded("backbone.embeddings"),
    block=block,
    attention="eager",
    cache="cache_params",
    keeps_past=False,
)
