"""Values on disk: computed once for each fact version on the base model.

They are kept under the hash of everything that they depend on.
"""

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
from factd.editor.models.workers import run_task
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
    """The value z of every edit, (edits, d) float32, from the workspace.

    Missing ones are computed and kept there.

    Raises: DamagedArtefact: a kept file differs from its manifest. SingularSystem: a value is not
    finite. BadEdit: a subject or target has no token. Each carries the name of the group.
    """
    groups = batch.groups()
    manifests = [_manifest(model, edits, settings) for edits in groups]
    folders = [_folder(workspace, manifest) for manifest in manifests]
    missing = [n for n, folder in enumerate(folders) if not folder.exists()]
    ready = len(groups) - len(missing)
    progress("values", ready, len(groups))
    own = {} if model.workers else {"progress": progress}  # a worker cannot report here
    computed = run_task(
        model, values_of_groups, [groups[n] for n in missing], settings=settings, **own
    )
    for place, values in computed:
        _write(folders[missing[place]], values, manifests[missing[place]])
        ready += 1
        progress("values", ready, len(groups))
    kept = [_read(folder, edits[0].group) for folder, edits in zip(folders, groups, strict=True)]
    return _in_order(batch, groups, kept).to(model.device)


def _manifest(
    model: EditableModel, edits: Sequence[Edit], settings: ValueSettings
) -> dict[str, Any]:
    """Everything that the values of a group depend on."""
    languages = sorted({edit.language for edit in edits})
    templates = {k: settings.templates.get(k, ()) for k in languages}
    manifest = {
        "base": model.fingerprint,
        "edits": [edit.key for edit in edits],
        "settings": asdict(settings) | {"templates": templates},
    }
    return manifest if model.dtype == "float32" else manifest | {"dtype": model.dtype}


def _folder(workspace: Path, manifest: Mapping[str, Any]) -> Path:
    name = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
    return workspace / "values" / name[:2] / name


def folder_of(
    model: EditableModel, group: Sequence[Edit], settings: ValueSettings, workspace: Path
) -> Path:
    """The folder for the values of a group, whether it exists or not."""
    return _folder(workspace, _manifest(model, group, settings))


def _write(folder: Path, values: Tensor, manifest: Mapping[str, Any]) -> None:
    on_cpu = values.cpu().contiguous()
    write_folder(
        folder, lambda part: save_file({"z": on_cpu}, part / "values.safetensors"), manifest
    )


def _read(folder: Path, group: str) -> Tensor:
    try:
        verify_folder(folder)
        values: Tensor = load_file(folder / "values.safetensors")["z"]
        if not torch.isfinite(values).all():
            raise DamagedArtefact(folder, "holds NaN or infinity; delete it")
    except EditorError as error:
        error.group = group
        raise
    return values


def _in_order(
    batch: EditBatch, groups: Sequence[Sequence[Edit]], values: Sequence[Tensor]
) -> Tensor:
    """The values of the groups (edits of the group, d) as one tensor in the order of the batch."""
    by_key = {
        edit.key: z
        for edits, rows in zip(groups, values, strict=True)
        for edit, z in zip(edits, rows, strict=True)
    }
    return torch.stack([by_key[edit.key] for edit in batch.edits])


def values_now(model: EditableModel, batch: EditBatch, settings: ValueSettings) -> Tensor:
    """The values on the weights as they are now, (edits, d) float32.

    They are not kept on disk. Editing in sequence needs them. Raises: BadEdit, BadValue.
    """
    groups = batch.groups()
    by_group = dict(values_of_groups(model, groups, settings))
    return _in_order(batch, groups, [by_group[n] for n in range(len(groups))])
