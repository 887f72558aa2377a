"""Edited checkpoints: complete Hugging Face directories with the base's files and edited tensors.

Head corrections are biases. How a checkpoint carries them depends on the model's class:
- The class has these biases (GPT-2, BLOOM, OPT, …): the corrections are added to them.
- A switch of the configuration adds such biases (Llama, Gemma, Qwen 3, …): the switch is set, and
  the sibling biases that come with it are zero.
- The class would drop the biases on reload (Qwen 2, Mistral): the checkpoint is written as a Llama,
  which computes the same.
- Otherwise the checkpoint is refused: a file that loses what was measured must not be published.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from factd.editor.deltas.delta import Delta, Part, fold
from factd.editor.deltas.shards import write_shard
from factd.editor.errors import DamagedArtefact, NotEditable, WrongModel
from factd.editor.families import Family, name_in
from factd.editor.files.copying import CopyFile, copy_file
from factd.editor.files.folders import Sha256, sha256_file, verify_folder, write_file, write_folder
from factd.editor.files.manifests import METADATA_FILES
from factd.editor.models.model import family_of, fingerprint, fingerprint_files, weight_files

INDEX = "model.safetensors.index.json"
# Smaller files beside the weights are copied, never linked: people edit them in place, and would
# edit the base's file.
MIN_LINKED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class CheckpointChanges:
    """How a checkpoint differs from its base. Tensors have the names that the base's files use."""

    parts: Mapping[str, Part] = field(default_factory=dict)  # tensor of the base -> what is added
    new: Mapping[str, tuple[str, Part | None]] = field(default_factory=dict)
    # new bias -> (the weight it belongs to, its values; None: zeros)
    config: Mapping[str, Any] = field(default_factory=dict)  # merged into config.json


def write_checkpoint(
    base: Path, delta: Delta | None, out: Path, about: Mapping[str, Any] | None = None
) -> Path:
    """Write base + delta as a checkpoint that `from_pretrained` reads, with a manifest.

    Returns `out`.

    The folder appears whole or not at all. Each edited tensor is summed in float32 and rounded once
    to its dtype in the file. With delta None the base is copied. No file is linked to the base, so
    the caller may change every one.

    Raises: WrongModel: the delta was computed for other weights. DamagedArtefact: the base lacks a
    tensor of the delta. NotEditable: no checkpoint of this class can carry head corrections.
    """
    return write_folder(out, lambda part: fill_checkpoint(base, delta, part), about or {})


def fill_checkpoint(
    base: Path,
    delta: Delta | None,
    folder: Path,
    *,
    bring: CopyFile = copy_file,
    sha256: Sha256 = sha256_file,
) -> dict[str, Any]:
    """Write the files of base + delta into an existing folder.

    Returns the entries for its manifest.

    A file whose tensors change is copied, and only the bytes of these tensors are written. A file
    that gets new tensors is written anew. All other files come by `bring`. With `HardLinks()` they
    are hard links to the base's files: whoever writes into one in place (safetensors' save_file
    does) changes the base and every version that links to it. So links are for folders that nobody
    writes into. `sha256` may be a cache (editor/files/checksum_cache.py); linked files that it
    knows are then not read.

    Raises: as `write_checkpoint`.
    """
    identity = fingerprint(base, sha256)
    if delta is not None and delta.base_fingerprint != identity:
        raise WrongModel(
            f"the delta was computed for the base {delta.base_fingerprint[:12]}, but {base} is "
            f"{identity[:12]}; choose the base it was computed for"
        )
    _fill(base, changes_for(base, delta) if delta else CheckpointChanges(), folder, bring)
    if sha256 is not sha256_file:
        _refuse_changed(base, folder, sha256)
    return {"base_fingerprint": identity, "delta_id": delta.id if delta else None}


def _refuse_changed(base: Path, folder: Path, sha256: Sha256) -> None:
    """Compare the base's copied files with their cached checksums.

    A cached checksum is trusted only for a linked file: the publisher compares its bytes with the
    manifest. A copied file is read again here, because the manifest lists the bytes of the copy.

    Raises: DamagedArtefact: a file of the base changed since its checksum was cached.
    """
    for source in fingerprint_files(base):
        if not source.samefile(folder / source.name) and sha256_file(source) != sha256(source):
            raise DamagedArtefact(
                source,
                "the file changed since it was first read; "
                "restore it, or put a new base into a folder of its own",
            )


def changes_for(base: Path, delta: Delta) -> CheckpointChanges:
    """What a delta changes in a base's files.

    Raises: DamagedArtefact: the base lacks a tensor of the delta. NotEditable: no checkpoint of
    this class can carry head corrections.
    """
    family = family_of(base)
    names = {name for file in weight_files(base) for name in _names(file)}
    parts: dict[str, Part] = {}
    missing: dict[str, Part] = {}
    for name, part in delta.parts.items():
        stored = name_in(family, name, names)
        if stored is not None:
            parts[stored] = part
        elif name.endswith(".bias"):
            missing[name] = part
        else:
            raise DamagedArtefact(
                base, f"it has no tensor {name!r}, which the delta changes; restore the base"
            )
    return (
        _with_biases(base, family, names, parts, missing) if missing else CheckpointChanges(parts)
    )


def _with_biases(
    base: Path,
    family: Family,
    names: Collection[str],
    parts: Mapping[str, Part],
    missing: Mapping[str, Part],
) -> CheckpointChanges:
    config, carrier = read_config(base), family.carrier
    if carrier is None or not carrier.config:
        raise NotEditable(
            f"{base}: a checkpoint of the class {config.get('model_type')} "
            "has no bias to hold head corrections; switch them off and publish without them, "
            "or convert the base to the Llama architecture first"
        )
    for key, allowed in carrier.requires.items():
        if config.get(key) not in allowed:
            raise NotEditable(
                f"{base}: with {key} = {config.get(key)} the checkpoint cannot be written as "
                f"{carrier.config['model_type']}, which head corrections need; "
                "switch them off and publish without them"
            )
    new: dict[str, tuple[str, Part | None]] = {}
    there = lambda n: name_in(family, _weight(carrier.module, n), names) is not None  # noqa: E731
    for layer in takewhile(there, count()):
        for module in (carrier.module, *carrier.siblings):
            beside = name_in(family, _weight(module, layer), names)
            if beside is None:
                raise DamagedArtefact(
                    base, f"it has no tensor {_weight(module, layer)!r}; restore the base"
                )
            bias = beside.removesuffix(".weight") + ".bias"
            if bias not in names:
                new[bias] = (beside, missing.get(module.format(layer) + ".bias"))
    return CheckpointChanges(parts, new, carrier.config)


def _weight(module: str, layer: int) -> str:
    return module.format(layer) + ".weight"


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a checkpoint."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return config


def merge_config(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with changes. Nested tables are merged; every other value is replaced."""
    merged = dict(config)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = (
            merge_config(inner, value)
            if isinstance(value, Mapping) and isinstance(inner, Mapping)
            else value
        )
    return merged


def _fill(base: Path, changes: CheckpointChanges, part: Path, bring: CopyFile) -> None:
    weights = weight_files(base)
    for source in sorted(base.iterdir()):
        if source.is_file() and source not in weights and source.name not in METADATA_FILES:
            own = source.stat().st_size < MIN_LINKED_BYTES
            (copy_file if own else bring)(source, part / source.name)
    if changes.config:
        _write_json(part / "config.json", merge_config(read_config(base), changes.config))
    placed: dict[str, str] = {}
    for source in weights:
        names = _names(source)
        new = {bias: values for bias, values in changes.new.items() if values[0] in names}
        if new:
            _rewrite(source, changes.parts, new, part / source.name)
        elif names & set(changes.parts):
            write_shard(source, changes.parts, part / source.name)
        else:
            bring(source, part / source.name)
        placed |= dict.fromkeys(new, source.name)
    if placed and (part / INDEX).exists():
        index = json.loads((part / INDEX).read_text(encoding="utf-8"))
        index["weight_map"] |= placed
        _write_json(part / INDEX, index, sort_keys=True)


def _write_json(path: Path, value: Mapping[str, Any], *, sort_keys: bool = False) -> None:
    """Write JSON to a new inode: the old file may be a hard link to the base's."""
    write_file(path, (json.dumps(value, indent=2, sort_keys=sort_keys) + "\n").encode())


def _names(file: Path) -> set[str]:
    with safe_open(file, framework="pt") as tensors:
        return set(tensors.keys())


def _rewrite(
    source: Path,
    parts: Mapping[str, Part],
    new: Mapping[str, tuple[str, Part | None]],
    out: Path,
) -> None:
    with safe_open(source, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        metadata = file.metadata()
    for name in set(tensors) & set(parts):
        tensors[name] = fold(tensors[name], parts[name]).contiguous()
    for name, (beside, part) in new.items():
        tensors[name] = _bias(tensors[beside], part)
    save_file(tensors, out, metadata=metadata)


def _bias(weight: Tensor, part: Part | None) -> Tensor:
    """The bias (d_out,) of a weight (d_out, d_in), in its dtype: the part's values, or zeros."""
    zero = torch.zeros(weight.shape[0], dtype=weight.dtype)
    return zero if part is None else fold(zero, part)


def verify_checkpoint(folder: Path) -> dict[str, Any]:
    """The manifest of a written checkpoint, after its files were compared with it.

    Raises: DamagedArtefact: a file is missing or differs from the manifest.
    """
    return verify_folder(folder)
