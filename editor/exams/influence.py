"""Which edits reach where: how far each value lies from the base model, and how much each edit moves some other texts.

Both are cheap: values are cached, keys are read once, nothing is solved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from factd.editor.closed_form import cholesky
from factd.editor.edits import Edit, EditBatch
from factd.editor.methods._write import WriteSettings, second_moments, templates_for
from factd.editor.models.hooks import captured_input
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import padded
from factd.editor.solving.keys import Keys, Reading, read_keys
from factd.editor.values.cache import values_for

TEXTS_PER_BATCH = 64  # run at once


@dataclass(frozen=True, kw_only=True)
class ValueShift:
    """How far a group of edits (a fact) is to move the residual stream."""

    group: str
    size: float  # ‖z - z0‖, the largest of its edits
    ratio: float  # over what the settings allow, clamp_norm_factor · ‖z0‖: above 1 no value of this program


def value_shifts(
    model: EditableModel, batch: EditBatch, settings: WriteSettings, workspace: Path
) -> tuple[ValueShift, ...]:
    """The reach of every group of a batch. Raises: SingularSystem, DamagedArtefact, as `values_for`."""
    if not batch.edits:
        return ()
    templates = templates_for(model, batch, settings)
    values = values_for(model, batch, settings.values(templates), workspace)
    bare = _bare(model, batch, layer=settings.layers[0], z_layer=settings.layers[-1]).stream
    moved, size = (values.to(bare.device) - bare).norm(dim=-1), bare.norm(dim=-1)
    rows: dict[str, list[int]] = {}
    for number, edit in enumerate(batch.edits):
        rows.setdefault(edit.group or edit.key, []).append(number)
    return tuple(
        ValueShift(
            group=group,
            size=float(moved[own].max()),
            ratio=float((moved[own] / (settings.clamp_norm_factor * size[own].max())).max()),
        )
        for group, own in rows.items()
    )


def influences(
    model: EditableModel,
    batch: EditBatch,
    settings: WriteSettings,
    workspace: Path,
    texts: Sequence[str],
) -> dict[str, float]:
    """How much each group of edits moves some texts, by group: Σ over texts of max over tokens |kᵀ (λC + K Kᵀ)⁻¹ x| · ‖z - z0‖.

    x is the input of the first edited matrix at a token of a text, k the key of an edit there; what the closed form adds
    at x is Σ r (kᵀ A⁻¹ x), so that this is each edit's share of it, in the size of the stream, at the first layer.
    """
    if not batch.edits or not texts:
        return {}
    layer, z_layer = settings.layers[0], settings.layers[-1]
    templates = templates_for(model, batch, settings)
    values = values_for(model, batch, settings.values(templates), workspace)
    found = _bare(model, batch, layer=layer, z_layer=z_layer)
    keys = found.keys.double().T
    moments = second_moments(model, settings, workspace).layers[layer].to(model.device).double()
    weight = float(getattr(settings, "second_moment_weight", 1.0))
    factor = cholesky(moments * weight + keys @ keys.T)
    whitened = torch.cholesky_solve(keys, factor)  # A⁻¹ K, (d_in, n)
    size = (values.to(model.device) - found.stream).norm(dim=-1).double()
    score = torch.zeros(len(batch.edits), dtype=torch.float64, device=model.device)
    for inputs in _inputs(model, texts, layer):
        score += (inputs.double() @ whitened).abs().amax(0) * size
    total: dict[str, float] = {}
    for edit, one in zip(batch.edits, score.tolist(), strict=True):
        group = edit.group or edit.key
        total[group] = total.get(group, 0.0) + one
    return total


def _bare(model: EditableModel, batch: EditBatch, *, layer: int, z_layer: int) -> Keys:
    """Keys and stream of the bare prompts on the base weights."""
    rows = [_reading(edit) for edit in batch.edits]
    return read_keys(model, rows, {}, layer=layer, z_layer=z_layer)


def _reading(edit: Edit) -> Reading:
    return Reading(prompt=edit.prompt, subject=edit.subject, language=edit.language)


@torch.no_grad()
def _inputs(model: EditableModel, texts: Sequence[str], layer: int) -> list[Tensor]:
    """The inputs of the edited matrix at every token of each text, (tokens, d_in)."""
    rows = [model.tokenizer(text)["input_ids"] for text in texts]
    found: list[Tensor] = []
    for start in range(0, len(rows), TEXTS_PER_BATCH):
        chosen = [row for row in rows[start : start + TEXTS_PER_BATCH] if row]
        with captured_input(model.mlp_out(layer)) as inputs:
            hidden = model.run(model.embed(padded(chosen, model.device)), 0, layer + 1)
        each = inputs[0].view(*hidden.shape[:2], -1)
        found += [each[n, : len(row)] for n, row in enumerate(chosen)]
    return found
