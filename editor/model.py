"""A model that can be edited: loaded, fingerprinted, its parts found, one dry run done."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from editor import plugins
from editor.errors import BadSettings, ModelNotFound, NotEditable
from editor.families import Family
from editor.files import sha256_file

REFUSED = {
    "num_local_experts": "a mixture of experts",
    "num_experts": "a mixture of experts",
    "quantization_config": "quantised",
}


@dataclass(frozen=True, kw_only=True)
class EditableModel:
    """A causal language model with what the editor must know of it. The weights change only inside `applied`."""

    model: Any  # the transformers model, in evaluation mode, without gradients
    tokenizer: Any  # a fast tokenizer
    family: Family
    path: Path
    fingerprint: str  # SHA-256 of configuration, tokenizer and weights

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]  # transformers is untyped

    @property
    def blocks(self) -> Any:
        """The list of blocks."""
        return self.model.get_submodule(self.family.blocks)

    def mlp_out(self, layer: int) -> Any:
        """The module whose weight is edited in a block."""
        return self.model.get_submodule(self.family.mlp_out.format(layer))

    def weight(self, layer: int) -> Tensor:
        """The edited weight of a block as (d_out, d_in): a view, transposed where the family stores it so."""
        stored: Tensor = self.mlp_out(layer).weight
        return stored.T if self.family.transposed else stored

    def parameter(self, layer: int) -> str:
        """The name of the edited weight in the checkpoint."""
        return self.family.mlp_out.format(layer) + ".weight"

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (rows, length) -> residual stream before block 0, (rows, length, d)."""
        return self.family.embed(self.model, ids)

    def run(self, hidden: Tensor, start: int, stop: int) -> Tensor:
        """The residual stream before block `start` -> before block `stop`."""
        for layer in self.blocks[start:stop]:
            hidden = self.family.block(self.model, layer, hidden)
        return hidden

    def logits(self, hidden: Tensor) -> Tensor:
        """Residual stream after the last block at chosen positions (n, d) -> logits (n, vocabulary)."""
        normed = self.model.get_submodule(self.family.norm)(hidden)
        return self.model.get_submodule(self.family.unembedding)(normed)  # type: ignore[no-any-return]


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint, sorted."""
    return sorted(path.glob("*.safetensors"))


def fingerprint(path: Path) -> str:
    """SHA-256 over configuration, tokenizer and weights of a checkpoint, hexadecimal; loads no model.

    Raises: ModelNotFound: no config.json or no safetensors there.
    """
    files = [path / "config.json", path / "tokenizer.json", *weight_files(path)]
    if not files[0].is_file() or len(files) < 3:
        raise ModelNotFound(
            f"{path} is no model: config.json and *.safetensors are needed; name a checkpoint's folder"
        )
    digest = hashlib.sha256()
    for file in files:
        if file.is_file():
            digest.update(f"{file.name} {sha256_file(file)}\n".encode())
    return digest.hexdigest()


def family_of(path: Path) -> Family:
    """The family of a checkpoint. Raises: NotEditable, ModelNotFound: one sentence with the reason."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{path} is no model: config.json cannot be read ({error})") from error
    for key, kind in REFUSED.items():
        if config.get(key):
            raise NotEditable(
                f"{path} is {kind} ({key} in config.json); edit the dense model in full precision instead"
            )
    try:
        found: Family = plugins.load("editor.families", str(config.get("model_type"))).FAMILY
    except BadSettings as error:
        raise NotEditable(f"{path}: {error}") from error
    return found


def load_model(path: Path, *, device: str = "cpu", dtype: str | None = "float32") -> EditableModel:
    """The model of a local checkpoint, ready to be edited.

    dtype "float32" computes exactly on the upcast weights; None keeps the checkpoint's own.

    Raises: ModelNotFound, NotEditable.
    """
    family, identity = family_of(path), fingerprint(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype or "auto", attn_implementation="sdpa", local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{path} cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise NotEditable(f"{path} has a slow tokenizer; character offsets need a tokenizer.json")
    model.requires_grad_(False)  # from_pretrained leaves it in evaluation mode
    model.to(torch.device(device))  # type: ignore[arg-type]  # transformers wraps the method
    found = EditableModel(
        model=model, tokenizer=tokenizer, family=family, path=path, fingerprint=identity
    )
    dry_run(found)
    return found


@torch.inference_mode()
def dry_run(model: EditableModel) -> None:
    """Prove that the family's parts are this model's: running block by block gives the model's own logits.

    Raises: NotEditable: it does not, or an edited weight has not the width of the residual stream.
    """
    ids = torch.tensor([[1, 2, 3, 4]], device=model.device)
    hidden = model.run(model.embed(ids), 0, len(model.blocks))
    expected = model.model(input_ids=ids).logits[0]
    if not torch.allclose(model.logits(hidden[0]), expected, atol=1e-4, rtol=1e-3):
        raise NotEditable(
            f"{model.path}: run block by block it gives other logits; the family does not fit this model"
        )
    if model.weight(0).shape[0] != hidden.shape[-1]:
        raise NotEditable(f"{model.path}: the MLP output does not write into the residual stream")
