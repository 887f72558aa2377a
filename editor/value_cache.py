"""Values on disk: computed once per fact version on the base model, kept under the hash of everything they depend on."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from editor.edits import Edit, EditBatch
from editor.files import verify_folder, write_folder
from editor.model import EditableModel
from editor.progress import Progress, silent
from editor.values import ValueSettings, group_values


def values_for(
    model: EditableModel,
    batch: EditBatch,
    settings: ValueSettings,
    workspace: Path,
    progress: Progress = silent,
) -> Tensor:
    """The value z of every edit, (edits, d) float32, from the workspace where it was computed before."""
    groups = batch.groups()
    found: dict[str, Tensor] = {}
    for number, edits in enumerate(groups):
        values = cached_values(model, edits, settings, workspace)
        found |= {edit.key: z for edit, z in zip(edits, values, strict=True)}
        progress("values", number + 1, len(groups))
    return torch.stack([found[edit.key] for edit in batch.edits])


def cached_values(
    model: EditableModel, edits: Sequence[Edit], settings: ValueSettings, workspace: Path
) -> Tensor:
    """The values of one group. Raises: DamagedArtefact: a kept file is not what its manifest says."""
    languages = {edit.language for edit in edits}
    content = {
        "base": model.fingerprint,
        "edits": [edit.key for edit in edits],
        "settings": asdict(settings)
        | {"templates": {k: settings.templates.get(k, ()) for k in sorted(languages)}},
    }
    name = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    folder = workspace / "values" / name[:2] / name
    if not folder.exists():
        values = group_values(model, edits, settings).cpu()
        write_folder(
            folder, lambda part: save_file({"z": values}, part / "values.safetensors"), content
        )
    verify_folder(folder)
    return load_file(folder / "values.safetensors")["z"].to(model.device)


def values_now(model: EditableModel, batch: EditBatch, settings: ValueSettings) -> Tensor:
    """The values on the weights as they are now, (edits, d); not kept (for editing in sequence)."""
    found = {
        edit.key: z
        for group in batch.groups()
        for edit, z in zip(group, group_values(model, group, settings), strict=True)
    }
    return torch.stack([found[edit.key] for edit in batch.edits])
