"""Public MEMIT and public AlphaEdit on a model of factd, with the statistics of factd's own rows.

Values are computed one fact at a time, as the public code does, and kept on disk with the seconds
that each took: they do not depend on the strength. Public AlphaEdit takes the same values. On a
family that normalises the MLP output before the residual stream (Gemma 2 and 3, OLMo 2) the public
code does not take the norm into account, and neither does this.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor

from factd.bench.public.pieces import Pieces, number
from factd.bench.public.plan import PUBLIC
from factd.bench.speed import public_memit
from factd.bench.speed.public_memit import PublicSettings
from factd.editor.deltas.delta import Delta
from factd.editor.edits import Edit, EditBatch
from factd.editor.methods._write import delta_identity, second_moments, templates_for
from factd.editor.models.model import EditableModel
from factd.editor.models.weights import weights_restored
from factd.editor.moments.moments import Moments
from factd.editor.progress import Progress, silent
from factd.editor.solving.layers import delta_part


@dataclass(frozen=True, kw_only=True)
class PublicEdit:
    """What the public form of a method computes, and how long that takes."""

    delta: Delta
    value_seconds: float  # CPU seconds of one value, the median over the edits
    value_evaluations: float  # of one value, the mean
    solve_seconds: float  # CPU seconds of keys and solve, of all edits


def public_edit(
    model: EditableModel,
    batch: EditBatch,
    kind: str,
    *,
    settings: Any,
    workspace: Path,
    progress: Progress = silent,
) -> PublicEdit:
    """The delta of a method in its public form. kind: a name of `PUBLIC`.

    settings: of the method whose settings it has. workspace: second moments and values are kept
    there.
    """
    templates = templates_for(model, batch, settings)
    moments = second_moments(model, settings, workspace, progress)
    own = [
        public_settings(model, edit, settings, templates.get(edit.language, ()))
        for edit in batch.edits
    ]
    values, seconds, evaluations = kept_values(model, batch.edits, own, workspace, progress)
    layers = edited_layers(model, settings.layers, moments)
    jobs = [(vars(edit), one) for edit, one in zip(batch.edits, own, strict=True)]
    started = time.process_time()
    with weights_restored([layer.weight for layer in layers]):
        updates = public_memit.layer_updates(
            model.model, model.tokenizer, jobs, values, layers, layer_solver(kind, settings)
        )
    spent = time.process_time() - started
    parts = {
        model.parameter(layer): delta_part(model, update)
        for layer, update in zip(settings.layers, updates, strict=True)
    }
    return PublicEdit(
        delta=Delta(parts=parts, **delta_identity(model, batch, kind, settings, templates)),
        value_seconds=median(seconds),
        value_evaluations=sum(evaluations) / len(evaluations),
        solve_seconds=spent,
    )


def edited_layers(
    model: EditableModel, layers: Sequence[int], moments: Moments
) -> list[public_memit.EditedLayer]:
    """The edited layers as the public code needs them, in rising order."""
    return [
        public_memit.EditedLayer(
            module=model.family.mlp_out.format(layer),
            weight=model.weight(layer),
            second_moment=moments.layers[layer],
        )
        for layer in layers
    ]


def layer_solver(kind: str, settings: Any) -> public_memit.LayerSolver:
    """The solve of one layer in the public form of a method."""
    if PUBLIC[kind] == "alphaedit":
        return public_memit.alphaedit_layer(settings.nullspace_threshold, settings.ridge)
    return public_memit.memit_layer(settings.second_moment_weight)


def public_settings(
    model: EditableModel, edit: Edit, settings: Any, prefixes: Sequence[str]
) -> PublicSettings:
    """The settings of public MEMIT's value for an edit."""
    return PublicSettings(
        block=f"{model.family.blocks}.{settings.layers[-1]}",
        context_templates=(("{}",), tuple(f"{prefix}. {{}}" for prefix in prefixes)),
        kl_prompt=settings.essence.get(edit.language, "{} is a"),
        v_lr=settings.v_lr,
        v_num_grad_steps=settings.v_num_grad_steps,
        v_weight_decay=settings.v_weight_decay,
        clamp_norm_factor=settings.clamp_norm_factor,
        kl_factor=settings.kl_factor,
        early_stop_loss=settings.loss_threshold,
    )


def kept_values(
    model: EditableModel,
    edits: Sequence[Edit],
    own: Sequence[PublicSettings],
    workspace: Path,
    progress: Progress = silent,
) -> tuple[Tensor, list[float], list[int]]:
    """z of every edit (edits, d), the CPU seconds that each took, and its evaluations.

    From the workspace, or computed one after the other and kept there.
    """
    pieces, found = Pieces(workspace), []
    for n, (edit, one) in enumerate(zip(edits, own, strict=True), start=1):
        key = {
            "piece": "public-values",
            "base": model.fingerprint,
            "edit": [edit.prompt, edit.subject, edit.target_new],
            "settings": asdict(one),
        }
        found.append(pieces.tensors(key, partial(_value, model, edit, one)))
        progress("public values", n, len(edits))
    z = torch.stack([one["z"] for one in found])
    return z, [float(one["seconds"]) for one in found], [int(one["steps"]) for one in found]


def _value(model: EditableModel, edit: Edit, own: PublicSettings) -> dict[str, Tensor]:
    started = time.process_time()
    z, steps = public_memit.value(model.model, model.tokenizer, vars(edit), own)
    return {
        "z": z,
        "seconds": number(time.process_time() - started),
        "steps": number(steps),
    }
