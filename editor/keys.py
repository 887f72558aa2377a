"""Keys k: the input of the edited matrix at the subject's last token, and the residual stream that the solve starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editor.edits import Edit
from editor.hooks import captured_input
from editor.model import EditableModel
from editor.tokens import Row, padded, row

CHUNK = 32  # edits run at once; fixed, so that the same batch gives the same bytes


@dataclass(frozen=True)
class Keys:
    """Keys of a batch at one layer, and where its bare prompts stand now."""

    keys: Tensor  # (edits, d_in) float32: mean within each template type, then over the types
    stream: Tensor  # (edits, d) float32: output of the z layer at the subject's last token of the bare prompt


@torch.no_grad()
def read_keys(
    model: EditableModel,
    edits: Sequence[Edit],
    templates: Mapping[str, tuple[str, ...]],
    *,
    layer: int,
    z_layer: int,
) -> Keys:
    """Keys at `layer` and the stream after `z_layer`, with the weights as they are now."""
    chunks = [edits[i : i + CHUNK] for i in range(0, len(edits), CHUNK)]
    found = [_chunk(model, chunk, templates, layer, z_layer) for chunk in chunks]
    return Keys(torch.cat([f.keys for f in found]), torch.cat([f.stream for f in found]))


def _chunk(
    model: EditableModel,
    edits: Sequence[Edit],
    templates: Mapping[str, tuple[str, ...]],
    layer: int,
    z_layer: int,
) -> Keys:
    rows: list[Row] = []
    owner: list[int] = []
    share: list[float] = []
    bare: list[int] = []
    for index, edit in enumerate(edits):
        prefixes = templates.get(edit.language, ())
        bare.append(len(rows))
        rows += [row(model.tokenizer, edit.prompt, edit.subject, prefix=p) for p in ("", *prefixes)]
        owner += [index] * (1 + len(prefixes))
        share += [0.5, *[0.5 / len(prefixes)] * len(prefixes)] if prefixes else [1.0]
    on = model.device
    ids = padded([r.ids[: r.subject + 1] for r in rows], on)
    last = torch.tensor([r.subject for r in rows], device=on)
    everyone = torch.arange(len(rows), device=on)
    with captured_input(model.mlp_out(layer)) as inputs:
        stream = model.run(model.embed(ids), 0, z_layer + 1)
    weighted = inputs[0][everyone, last].float() * torch.tensor(share, device=on)[:, None]
    keys = torch.zeros(len(edits), weighted.shape[1], device=on).index_add(
        0, torch.tensor(owner, device=on), weighted
    )
    return Keys(
        keys, stream[torch.tensor(bare, device=on), last[torch.tensor(bare, device=on)]].float()
    )
