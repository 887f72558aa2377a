"""How far the value of each edit lies from the base, and how much an edit moves other texts.

Both are cheap: values are cached, keys are read once, and nothing is solved.
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
from factd.editor.solving.keys import KeyPrompt, Keys, read_keys
from factd.editor.values.cache import values_for

TEXTS_PER_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class ValueShift:
    """How far a group of edits (a fact) moves the residual stream."""

    group: str
    size: float  # ‖z - z0‖, the largest of the group's edits
    ratio: float  # size / (clamp_norm_factor · ‖z0‖); above 1 the value was not computed by factd


def value_shifts(
    model: EditableModel, batch: EditBatch, settings: WriteSettings, workspace: Path
) -> tuple[ValueShift, ...]:
    """How far every group of a batch moves the residual stream.

    Raises: SingularSystem, DamagedArtefact: as `values_for`.
    """
    if not batch.edits:
        return ()
    templates = templates_for(model, batch, settings)
    values = values_for(model, batch, settings.values(templates), workspace)
    bare = _bare(model, batch, layer=settings.layers[0], z_layer=settings.z_layer).stream
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
    """How much each group of edits moves the texts: the influence, by group.

    It is Σ over texts of max over tokens |kᵀ (λC + K Kᵀ)⁻¹ x| · ‖z - z0‖, summed over the group's
    edits. x is the input of the first edited matrix at a token of a text, k is the key of an edit
    in that layer. The closed form (MEMIT, arXiv:2210.07229) adds Σ r (kᵀ A⁻¹ x) to the output at x,
    with A = λC + K Kᵀ. So the influence is each edit's share of that sum, in units of the residual
    stream, at the first edited layer.

    Raises: SingularSystem: A has no Cholesky factor. DamagedArtefact: as `values_for`.
    """
    if not batch.edits or not texts:
        return {}
    layer, z_layer = settings.layers[0], settings.z_layer
    templates = templates_for(model, batch, settings)
    values = values_for(model, batch, settings.values(templates), workspace)
    bare = _bare(model, batch, layer=layer, z_layer=z_layer)
    keys = bare.keys.double().T  # (d_in, n)
    moments = second_moments(model, settings, workspace).layers[layer].to(model.device).double()
    weight = float(getattr(settings, "second_moment_weight", 1.0))
    factor = cholesky(moments * weight + keys @ keys.T)
    whitened = torch.cholesky_solve(keys, factor)  # A⁻¹ K, (d_in, n)
    size = (values.to(model.device) - bare.stream).norm(dim=-1).double()
    score = torch.zeros(len(batch.edits), dtype=torch.float64, device=model.device)
    for inputs in _inputs(model, texts, layer):
        score += (inputs.double() @ whitened).abs().amax(0) * size
    total: dict[str, float] = {}
    for edit, one in zip(batch.edits, score.tolist(), strict=True):
        group = edit.group or edit.key
        total[group] = total.get(group, 0.0) + one
    return total


def _bare(model: EditableModel, batch: EditBatch, *, layer: int, z_layer: int) -> Keys:
    """Keys and residual stream of the prompts without a prefix, on the base weights."""
    rows = [_reading(edit) for edit in batch.edits]
    return read_keys(model, rows, {}, layer=layer, z_layer=z_layer)


def _reading(edit: Edit) -> KeyPrompt:
    return KeyPrompt(prompt=edit.prompt, subject=edit.subject, language=edit.language)


@torch.no_grad()
def _inputs(model: EditableModel, texts: Sequence[str], layer: int) -> list[Tensor]:
    """The inputs of a layer's edited matrix at every token of each text, (tokens, d_in)."""
    rows = [model.tokenizer(text)["input_ids"] for text in texts]
    by_text: list[Tensor] = []
    for start in range(0, len(rows), TEXTS_PER_BATCH):
        chosen = [row for row in rows[start : start + TEXTS_PER_BATCH] if row]
        with captured_input(model.mlp_out(layer)) as inputs:
            hidden = model.run(model.embed(padded(chosen, model.device)), 0, layer + 1)
        each = inputs[0].view(*hidden.shape[:2], -1)
        by_text += [each[n, : len(row)] for n, row in enumerate(chosen)]
    return by_text
