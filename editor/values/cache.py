"""Values on disk: computed once per fact version on the base model, kept under the hash of everything they depend on."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from factd.editor.edits import Edit, EditBatch
from factd.editor.errors import DamagedArtefact, EditorError
from factd.editor.files.folders import verify_folder, write_folder
from factd.editor.models.model import EditableModel
from factd.editor.models.workers import done
from factd.editor.progress import Progress, silent
from factd.editor.values.problem import ValueSettings
from factd.editor.values.values import values_of_groups


def values_for(
    model: EditableModel,
    batch: EditBatch,
    settings: ValueSettings,
    workspace: Path,
    progress: Progress = silent,
) -> Tensor:
    """The value z of every edit, (edits, d) float32, from the workspace where it was computed before.

    Raises: DamagedArtefact: a kept file is not what its manifest says; SingularSystem: a value is no number. Both name the group.
    """
    groups = batch.groups()
    abouts = [_about(model, edits, settings) for edits in groups]
    folders = [_folder(workspace, about) for about in abouts]
    missing = [n for n, folder in enumerate(folders) if not folder.exists()]
    ready = len(groups) - len(missing)
    progress("values", ready, len(groups))
    for place, values in done(
        model, values_of_groups, [groups[n] for n in missing], settings=settings
    ):
        _keep(folders[missing[place]], values, abouts[missing[place]])
        ready += 1
        progress("values", ready, len(groups))
    kept = [_kept(folder, edits[0].group) for folder, edits in zip(folders, groups, strict=True)]
    return _in_order(batch, groups, kept).to(model.device)


def _about(model: EditableModel, edits: Sequence[Edit], settings: ValueSettings) -> dict[str, Any]:
    """Everything that the values of a group depend on."""
    languages = sorted({edit.language for edit in edits})
    templates = {k: settings.templates.get(k, ()) for k in languages}
    about = {
        "base": model.fingerprint,
        "edits": [edit.key for edit in edits],
        "settings": asdict(settings) | {"templates": templates},
    }
    return about if model.dtype == "float32" else about | {"dtype": model.dtype}


def _folder(workspace: Path, about: Mapping[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return workspace / "values" / name[:2] / name


def folder_of(
    model: EditableModel, group: Sequence[Edit], settings: ValueSettings, workspace: Path
) -> Path:
    """Where the values of a group lie, or would."""
    return _folder(workspace, _about(model, group, settings))


def _keep(folder: Path, values: Tensor, about: Mapping[str, Any]) -> None:
    held = values.cpu().contiguous()
    write_folder(folder, lambda part: save_file({"z": held}, part / "values.safetensors"), about)


def _kept(folder: Path, group: str) -> Tensor:
    try:
        verify_folder(folder)
        found: Tensor = load_file(folder / "values.safetensors")["z"]
        if not torch.isfinite(found).all():
            raise DamagedArtefact(folder, "holds a number that is none; delete it")
    except EditorError as error:
        error.group = group
        raise
    return found


def _in_order(
    batch: EditBatch, groups: Sequence[Sequence[Edit]], values: Sequence[Tensor]
) -> Tensor:
    found = {
        edit.key: z
        for edits, rows in zip(groups, values, strict=True)
        for edit, z in zip(edits, rows, strict=True)
    }
    return torch.stack([found[edit.key] for edit in batch.edits])


def values_now(model: EditableModel, batch: EditBatch, settings: ValueSettings) -> Tensor:
    """The values on the weights as they are now, (edits, d); not kept (for editing in sequence)."""
    groups = batch.groups()
    found = dict(values_of_groups(model, groups, settings))
    return _in_order(batch, groups, [found[n] for n in range(len(groups))])
