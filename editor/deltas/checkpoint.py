"""Edited checkpoints: a complete Hugging Face directory in which only the touched tensors differ from the base.

Head corrections are biases. Where the model's class has them (GPT-2, BLOOM, OPT, …) they are added there. Where a switch of
the configuration gives the class such a bias (Llama, Gemma, Qwen 3, …) the switch is set and the sibling biases are zero.
Where the class would drop it on reload (Qwen 2, Mistral) the checkpoint is written as a Llama, which computes the same. Else
it is refused: a file that loses what was measured must not be published.
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
from factd.editor.models.model import family_of, fingerprint, fingerprinted, weight_files

INDEX = "model.safetensors.index.json"
MIN_LINKED_BYTES = (
    64 * 2**20
)  # bytes; smaller files beside the weights are copied: people change them, and would change the base


@dataclass(frozen=True)
class CheckpointChanges:
    """What a checkpoint gets that its base has not, in the names of its files."""

    parts: Mapping[str, Part] = field(default_factory=dict)  # tensors of the base -> what is added
    new: Mapping[str, tuple[str, Part | None]] = field(default_factory=dict)
    # new biases -> (the weight they stand beside, their values; None: zeros)
    config: Mapping[str, Any] = field(default_factory=dict)  # merged into config.json


def write_checkpoint(
    base: Path, delta: Delta | None, out: Path, about: Mapping[str, Any] | None = None
) -> Path:
    """base + delta as a checkpoint that `from_pretrained` reads, with a manifest; whole or not at all.

    Each touched tensor is summed in float32 and rounded once to its dtype in the file. delta None copies the base.
    Every file is the caller's own, to be changed as one likes.

    Raises: WrongModel: the delta is for other weights. DamagedArtefact: the base lacks a tensor of the delta.
    NotEditable: no checkpoint of this class carries head corrections; the sentence says what to do.
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
    """The files of base + delta in a folder that is there; what a manifest is to say about them. Raises: as above.

    A file whose tensors change is copied and only their bytes are written; one that gets new tensors is written anew. With
    bring = factd.editor.files.copying.Links() other weights *are* the base's files, as further names of theirs: whoever writes into one
    of them in place (safetensors' save_file does) changes the base and all versions that hold it. So that is for folders
    that nobody writes into. sha256 may know the base's files (editor/files/checksum_cache.py): then those that are linked are not read.
    """
    identity = fingerprint(base, sha256)
    if delta is not None and delta.base_fingerprint != identity:
        raise WrongModel(
            f"the delta is for the base {delta.base_fingerprint[:12]}, {base} is {identity[:12]}"
        )
    _fill(base, changes_for(base, delta) if delta else CheckpointChanges(), folder, bring)
    if sha256 is not sha256_file:
        _refuse_changed(base, folder, sha256)
    return {"base_fingerprint": identity, "delta_id": delta.id if delta else None}


def _refuse_changed(base: Path, folder: Path, sha256: Sha256) -> None:
    """Known sums are believed only of files that are linked, whose bytes are compared with the manifest before publishing.

    What was copied is read again, for its own bytes are what the manifest tells. Raises: DamagedArtefact: it changed.
    """
    for source in fingerprinted(base):
        if not source.samefile(folder / source.name) and sha256_file(source) != sha256(source):
            raise DamagedArtefact(
                source,
                "it is not what it was when it was first read; restore it, or give a new base a folder of its own",
            )


def changes_for(base: Path, delta: Delta) -> CheckpointChanges:
    """A delta in the names of a base's files. Raises: DamagedArtefact, NotEditable."""
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
            raise DamagedArtefact(base, f"has no tensor {name!r}, which the delta changes")
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
            f"{base}: {config.get('model_type')} has no bias that a checkpoint could carry head corrections in; "
            "publish without them (switch them off), or convert the base to the Llama architecture first"
        )
    for key, allowed in carrier.requires.items():
        if config.get(key) not in allowed:
            raise NotEditable(
                f"{base}: with {key} = {config.get(key)} it cannot be written as {carrier.config['model_type']}, which head "
                "corrections need; publish without them (switch them off)"
            )
    new: dict[str, tuple[str, Part | None]] = {}
    there = lambda n: name_in(family, _weight(carrier.module, n), names) is not None  # noqa: E731
    for layer in takewhile(there, count()):
        for module in (carrier.module, *carrier.siblings):
            beside = name_in(family, _weight(module, layer), names)
            if beside is None:
                raise DamagedArtefact(base, f"has no tensor {_weight(module, layer)!r}")
            bias = beside.removesuffix(".weight") + ".bias"
            if bias not in names:
                new[bias] = (beside, missing.get(module.format(layer) + ".bias"))
    return CheckpointChanges(parts, new, carrier.config)


def _weight(module: str, layer: int) -> str:
    return module.format(layer) + ".weight"


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's config.json."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return found


def merge_config(config: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with changes; tables are merged."""
    found = dict(config)
    for key, value in changes.items():
        inner = found.get(key)
        found[key] = (
            merge_config(inner, value)
            if isinstance(value, Mapping) and isinstance(inner, Mapping)
            else value
        )
    return found


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
        new = {bias: what for bias, what in changes.new.items() if what[0] in names}
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
    """Under a new inode, whatever the old one is linked to."""
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
    """A new bias beside a weight (d_out, d_in): some values or zeros, in the weight's dtype."""
    zero = torch.zeros(weight.shape[0], dtype=weight.dtype)
    return zero if part is None else fold(zero, part)


def verify_checkpoint(folder: Path) -> dict[str, Any]:
    """The manifest of a written checkpoint whose files are all what it says. Raises: DamagedArtefact."""
    return verify_folder(folder)
