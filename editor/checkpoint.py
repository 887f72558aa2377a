"""Edited checkpoints: a complete Hugging Face directory in which only the touched tensors differ from the base."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file

from editor.delta import Delta, fold
from editor.errors import DamagedArtefact, WrongModel
from editor.files import MANIFEST, verify_folder, write_folder
from editor.model import fingerprint, weight_files


def write_checkpoint(
    base: Path, delta: Delta | None, out: Path, about: Mapping[str, Any] | None = None
) -> Path:
    """base + delta as a checkpoint that `from_pretrained` reads, with a manifest; whole or not at all.

    Each touched tensor is summed in float32 and rounded once to its dtype in the file. delta None copies the base.

    Raises: WrongModel: the delta is for other weights. DamagedArtefact: the base lacks a tensor of the delta.
    """
    identity = fingerprint(base)
    if delta is not None and delta.base_fingerprint != identity:
        raise WrongModel(
            f"the delta is for the base {delta.base_fingerprint[:12]}, {base} is {identity[:12]}"
        )
    told = {"base_fingerprint": identity, "delta_id": delta.id if delta else None, **(about or {})}
    return write_folder(out, lambda part: _fill(base, delta, part), told)


def _fill(base: Path, delta: Delta | None, part: Path) -> None:
    weights = weight_files(base)
    left = set(delta.parts) if delta else set()
    for source in sorted(base.iterdir()):
        if source.is_file() and source not in weights and source.name != MANIFEST:
            shutil.copyfile(source, part / source.name)
    for source in weights:
        touched = _names(source) & left
        left -= touched
        if delta and touched:
            _rewrite(source, delta, part / source.name)
        else:
            shutil.copyfile(source, part / source.name)
    if left:
        raise DamagedArtefact(base, f"has no tensor {sorted(left)[0]!r}, which the delta changes")


def _names(file: Path) -> set[str]:
    with safe_open(file, framework="pt") as tensors:
        return set(tensors.keys())


def _rewrite(source: Path, delta: Delta, out: Path) -> None:
    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        metadata = file.metadata()
    for name in set(tensors) & set(delta.parts):
        tensors[name] = fold(tensors[name], delta.parts[name]).contiguous()
    save_file(tensors, out, metadata=metadata)


def verify_checkpoint(folder: Path) -> dict[str, Any]:
    """The manifest of a written checkpoint whose files are all what it says. Raises: DamagedArtefact."""
    return verify_folder(folder)
