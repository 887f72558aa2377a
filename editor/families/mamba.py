"""Mamba: no attention and no MLP; `out_proj` of the mixer takes the edit (arXiv:2404.03646).

MEMAT has no heads to correct here.
"""

from typing import Any

from torch import Tensor

from factd.editor.families import Family, stream_of, token_embeddings
from factd.editor.families._kv_cache import KvState


def block(model: Any, layer: Any, hidden: Tensor, past: KvState) -> Tensor:
    """One block over whole texts; it only looks back. past is None: there is no cache."""
    return stream_of(layer(hidden))


FAMILY = Family(
    blocks="backbone.layers",
    mlp_out="backbone.layers.{}.mixer.out_proj",
    attention_out=None,
    norm="backbone.norm_f",
    embed=token_embeddings("backbone.embeddings"),
    block=block,
    attention="eager",
    cache="cache_params",
    keeps_past=False,
)
