"""The delta: what an edit adds to a model's weights, stored as an immutable file.

Per parameter it holds low-rank factors, or a dense tensor where that is smaller.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from factd.editor.errors import DamagedArtefact, WrongModel
from factd.editor.families import name_in
from factd.editor.files.folders import verify_folder, write_folder
from factd.editor.files.manifests import read_manifest
from factd.editor.models.model import EditableModel, weight_files

DELTA_FILE = "delta.safetensors"


@dataclass(frozen=True)
class LowRank:
    """ΔW as factors: left rightᵀ."""

    left: Tensor  # (rows of the stored parameter, rank) float32
    right: Tensor  # (columns of the stored parameter, rank) float32

    def matrix(self) -> Tensor:
        """ΔW in the stored layout, float32."""
        return self.left @ self.right.T


@dataclass(frozen=True)
class Dense:
    """ΔW as a full tensor: a matrix, or the vector of a bias."""

    values: Tensor  # in the stored layout, float32

    def matrix(self) -> Tensor:
        """ΔW in the stored layout, float32."""
        return self.values


Part = LowRank | Dense


@dataclass(frozen=True, kw_only=True)
class Delta:
    """What is added to a checkpoint's tensors, and the base that it was computed for."""

    parts: Mapping[str, Part]  # name of the tensor in the checkpoint -> what is added to it
    base_fingerprint: str
    batch_id: str
    method: str
    # all that is needed to compute the delta again
    settings: Mapping[str, Any] = field(default_factory=dict)
    # norms, errors of z, leverage; not part of the id
    diagnostics: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """SHA-256 over base, batch, method, settings and every byte of the parts."""
        digest = hashlib.sha256(json.dumps(self.about(), sort_keys=True).encode())
        for name, tensor in sorted(_tensors(self.parts).items()):
            digest.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def about(self) -> dict[str, Any]:
        """Everything that identifies the computation, without the tensors."""
        return {
            "base_fingerprint": self.base_fingerprint,
            "batch_id": self.batch_id,
            "method": self.method,
            "settings": dict(self.settings),
        }


def compact_part(left: Tensor, right: Tensor) -> Part:
    """left rightᵀ as factors, or as a dense matrix if that takes fewer numbers.

    left (rows, rank), right (columns, rank).
    """
    (rows, rank), columns = left.shape, right.shape[0]
    if rank * (rows + columns) < rows * columns:
        return LowRank(left.contiguous(), right.contiguous())
    return Dense((left @ right.T).contiguous())


def _tensors(parts: Mapping[str, Part]) -> dict[str, Tensor]:
    """The tensors of the parts, by their names in the file."""
    tensors: dict[str, Tensor] = {}
    for name, part in parts.items():
        if isinstance(part, LowRank):
            tensors |= {f"{name}.left": part.left, f"{name}.right": part.right}
        else:
            tensors[f"{name}.dense"] = part.values
    return tensors


def save_delta(delta: Delta, folder: Path) -> Path:
    """Write a delta as safetensors with a manifest. The folder appears whole or not at all."""
    tensors = {name: tensor.contiguous().cpu() for name, tensor in _tensors(delta.parts).items()}
    about = {**delta.about(), "diagnostics": dict(delta.diagnostics), "id": delta.id}
    return write_folder(folder, lambda part: save_file(tensors, part / DELTA_FILE), about)


def load_delta(folder: Path) -> Delta:
    """Read a delta from its folder.

    Raises: DamagedArtefact: a file is missing, or differs from the manifest or from the delta's id.
    """
    manifest = verify_folder(folder)
    with safe_open(folder / DELTA_FILE, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    parts: dict[str, Part] = {}
    for name in sorted({key.rsplit(".", 1)[0] for key in tensors}):
        if f"{name}.dense" in tensors:
            parts[name] = Dense(tensors[f"{name}.dense"])
        else:
            parts[name] = LowRank(tensors[f"{name}.left"], tensors[f"{name}.right"])
    about = {
        key: manifest[key]
        for key in ("base_fingerprint", "batch_id", "method", "settings", "diagnostics")
    }
    delta = Delta(parts=parts, **about)
    if delta.id != manifest["id"]:
        raise DamagedArtefact(
            folder, "its content does not match its id; restore it or compute it again"
        )
    return delta


def fold(base: Tensor, part: Part, dtype: torch.dtype | None = None) -> Tensor:
    """base + ΔW, summed in float32 (float64 for a float64 base) and rounded once.

    base has the stored layout. The result has `dtype`, or the base's dtype if none is given.
    """
    wide = torch.float64 if base.dtype == torch.float64 else torch.float32
    return (base.to(wide) + part.matrix().to(base.device, wide)).to(dtype or base.dtype)


def stored_dtypes(path: Path) -> dict[str, torch.dtype]:
    """The dtype of every tensor of a checkpoint, by the tensor's name in the files."""
    dtypes: dict[str, torch.dtype] = {}
    for file in weight_files(path):
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - no mapping
                dtypes[name] = tensors.get_slice(name)[:0].dtype
    return dtypes


def dtype_in(model: EditableModel, name: str, dtypes: Mapping[str, torch.dtype]) -> torch.dtype:
    """The dtype that a tensor of the model in memory has in the checkpoint's files.

    A bias that the files lack has the dtype of its weight.

    Raises: DamagedArtefact: the checkpoint has neither.
    """
    beside = name.removesuffix(".bias") + ".weight"
    for wanted in (name, beside):
        stored = name_in(model.family, wanted, dtypes)
        if stored is not None:
            return dtypes[stored]
    raise DamagedArtefact(
        model.path, f"it has no tensor {name!r}, which the delta changes; restore the checkpoint"
    )


@contextmanager
def applied(model: EditableModel, delta: Delta) -> Iterator[EditableModel]:
    """The model with the weights that would be published: base + delta.

    Sums are rounded once to the checkpoint's dtype. A bias that the model lacks exists while the
    context is open. On leaving, also after an error, every bit is put back.

    Raises: WrongModel: the delta was computed for other weights.
    """
    if delta.base_fingerprint != model.fingerprint:
        raise WrongModel(
            f"the delta was computed for the base {delta.base_fingerprint[:12]}, "
            f"this model is {model.fingerprint[:12]}; load the base it was computed for"
        )
    dtypes = stored_dtypes(model.path)
    with ExitStack() as stack:
        for name, part in delta.parts.items():
            weight = stack.enter_context(_restored(model, name))
            weight.data.copy_(fold(weight.data, part, dtype_in(model, name, dtypes)))
        yield model


@contextmanager
def _restored(model: EditableModel, name: str) -> Iterator[Tensor]:
    """A parameter whose bits are put back on leaving.

    A bias that its module lacks is added as zeros, and removed on leaving.
    """
    module_name, _, kind = name.rpartition(".")
    module = model.model.get_submodule(module_name)
    parameter = getattr(module, kind)
    if parameter is None:
        width = model.weight(0).shape[0]
        zero = torch.zeros(width, dtype=module.weight.dtype, device=module.weight.device)
        module.bias = torch.nn.Parameter(zero, requires_grad=False)
        try:
            yield module.bias
        finally:
            module.bias = None
        return
    saved = parameter.detach().clone()
    try:
        yield parameter
    finally:
        parameter.data.copy_(saved)


def read_delta_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a stored delta. No tensor is read, so nothing is verified.

    Raises: DamagedArtefact: there is no readable manifest.
    """
    return read_manifest(folder)
