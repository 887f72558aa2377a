"""A model that can be edited: loaded, fingerprinted, its parts found, one dry run done."""

import hashlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as bars

from factd.editor import plugins
from factd.editor.errors import BadSettings, ModelNotFound, NotEditable
from factd.editor.families import Family
from factd.editor.families._kv_cache import Before
from factd.editor.files.folders import Sha256, sha256_file
from factd.editor.models.hooks import captured_input
from factd.editor.models.workers import Workers

REFUSED = {
    "num_local_experts": "a mixture of experts",
    "num_experts": "a mixture of experts",
    "num_experts_per_tok": "a mixture of experts",
    "n_routed_experts": "a mixture of experts",
    "quantization_config": "quantised",
    "is_encoder_decoder": "an encoder-decoder",
}


@dataclass(frozen=True, kw_only=True)
class EditableModel:
    """A causal language model with what the editor must know of it. The weights change only inside `applied`."""

    model: Any  # the transformers model, in evaluation mode, without gradients
    tokenizer: Any  # a fast tokenizer
    family: Family
    path: Path
    fingerprint: str  # SHA-256 of configuration, tokenizer and weights
    workers: Workers | None = None  # who does what is independent per fact; None: this process
    sizes: dict[str, int] = field(
        default_factory=dict, compare=False
    )  # that fitted, by kind of work

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]  # transformers is untyped

    @property
    def dtype(self) -> str:
        """What the model computes in: "float32", "bfloat16", ..."""
        return str(self.weight(0).dtype).removeprefix("torch.")

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
        """The name of the edited weight in memory; `Family.renames` says what the files call it."""
        return self.family.mlp_out.format(layer) + ".weight"

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids (rows, length) -> residual stream before block 0, (rows, length, d)."""
        return self.family.embed(self.model, ids)

    def run(self, hidden: Tensor, start: int, stop: int, past: Before = None) -> Tensor:
        """The residual stream before block `start` -> before block `stop`, (rows, length, d).

        past: what stands before the tokens that are run, or a recording of them; None: texts start with them.
        """
        for layer in self.blocks[start:stop]:
            hidden = self.family.block(self.model, layer, hidden, past)
        return hidden.to(self.device)  # where blocks lie on several devices

    def logits(self, hidden: Tensor) -> Tensor:
        """Residual stream after the last block at chosen positions (n, d) -> logits (n, vocabulary)."""
        norm = self.model.get_submodule(self.family.norm)
        return self.unembedded(norm(hidden.to(next(norm.parameters()).device)))

    def unembedded(self, normed: Tensor) -> Tensor:
        """What stands behind the final norm at chosen positions (n, d) -> logits (n, vocabulary)."""
        found: Tensor = self.model.get_submodule(self.family.unembedding)(normed)
        limit = (
            getattr(self.text_config, self.family.softcap, None) if self.family.softcap else None
        )
        found = found.to(self.device)
        return found if limit is None else limit * torch.tanh(found / limit)

    @property
    def text_config(self) -> Any:
        """The configuration of the language model."""
        return self.model.config.get_text_config()

    @property
    def heads(self) -> int:
        """Attention heads of a block. Raises: NotEditable: there is no attention."""
        self.attention_out(0)
        return int(self.text_config.num_attention_heads)

    def attention_out(self, layer: int) -> Any:
        """The attention output projection of a block. Raises: NotEditable: there is no attention."""
        if self.family.attention_out is None:
            raise NotEditable(f"{self.path} has no attention heads to correct; use memit")
        return self.model.get_submodule(self.family.attention_out.format(layer))

    def head_bias(self, layer: int) -> str:
        """The name of the bias that head corrections of a block are folded into, in memory."""
        carrier = self.family.carrier
        module = carrier.module if carrier else self.family.attention_out
        if module is None:
            raise NotEditable(f"{self.path} has no attention heads to correct; use memit")
        return module.format(layer) + ".bias"

    def head_weight(self, layer: int) -> Tensor:
        """The attention output weight of a block as (d, heads, d_head): a view."""
        stored: Tensor = self.attention_out(layer).weight
        matrix = stored.T if self.family.transposed else stored
        return matrix.reshape(len(matrix), self.heads, -1)

    def before_norm(self, layer: int, keys: Tensor, wanted: Tensor) -> Tensor:
        """What the edited matrix must add (n, d) so that the residual stream gains `wanted` (n, d), at keys (n, d_in).

        The same where the MLP output is added as it is. Behind an RMS norm (Gemma 2 and 3, OLMo 2) only the direction of
        its input counts, y = g m / rms(m): the nearest reachable input of the present size is taken, and
        what the norm cannot reach is left to the next layer (it shows in the z error).
        """
        if self.family.mlp_norm is None:
            return wanted
        norm = self.model.get_submodule(self.family.mlp_norm.format(layer))
        now = self.mlp_out(layer)(keys.to(self.weight(layer).dtype)).float()
        written = norm(now).float()
        unit = now / now.pow(2).mean(-1, keepdim=True).sqrt()
        gain = (written * unit).sum(0) / unit.pow(2).sum(
            0
        )  # g, whatever the class adds to its weight
        aimed = (written + wanted) / torch.where(gain.abs() < 1e-6, torch.ones_like(gain), gain)
        size = now.norm(dim=-1, keepdim=True)
        found: Tensor = aimed / aimed.norm(dim=-1, keepdim=True) * size - now
        return found


def least_rows(device: torch.device) -> int:
    """How many rows a product of matrices on a CPU must have to do the same for each of them however many there are.

    Below about four rows a thread other kernels are used (MKL; tests/unit/editor/values/test_optimizer.py). A GPU's depend on every shape.
    """
    return 16 * torch.get_num_threads() if device.type == "cpu" else 1


def halve(model: EditableModel, kind: str, size: int, *, least: int) -> None:
    """Remember half of a size that did not fit. Raises: OutOfMemoryError (the one being handled): not even `least` fits."""
    if size <= least:
        raise
    model.sizes[kind] = max(least, size // 2)
    if model.device.type == "cuda":
        torch.cuda.empty_cache()


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint, sorted."""
    return sorted(path.glob("*.safetensors"))


def fingerprinted(path: Path) -> list[Path]:
    """The files that make a checkpoint what it is: configuration, tokenizer, weights."""
    named = [path / "config.json", path / "tokenizer.json", *weight_files(path)]
    return [file for file in named if file.is_file()]


def fingerprint(path: Path, sha256: Sha256 = sha256_file) -> str:
    """SHA-256 over configuration, tokenizer and weights of a checkpoint, hexadecimal; loads no model.

    sha256 gives a file's own; one that knows files from before (editor/files/checksum_cache.py) spares reading them.

    Raises: ModelNotFound: no config.json or no safetensors there.
    """
    files = fingerprinted(path)
    if not (path / "config.json").is_file() or not weight_files(path):
        raise ModelNotFound(
            f"{path} is no model: config.json and *.safetensors are needed; name a checkpoint's folder"
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {sha256(file)}\n".encode())
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
                f"{path} is {kind} ({key} in config.json); name a dense decoder-only model in full precision"
            )
    try:
        found: Family = plugins.load("factd.editor.families", str(config.get("model_type"))).FAMILY
    except BadSettings as error:
        raise NotEditable(f"{path}: {error}") from error
    return found


def load_model(path: Path, *, device: str = "cpu", dtype: str | None = "float32") -> EditableModel:
    """The model of a local checkpoint, ready to be edited.

    dtype "float32" computes exactly on the upcast weights; None keeps the checkpoint's own. device "auto": over several
    devices, as accelerate places it (`pip install factd[accelerate]`); the solve of a layer then runs on the first of them.

    Raises: ModelNotFound, NotEditable.
    """
    placed = {"device_map": "auto"} if device == "auto" else {}
    family, identity = family_of(path), fingerprint(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        with bars_on_terminals():
            model = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=dtype or "auto",
                attn_implementation=family.attention,
                local_files_only=True,
                **placed,
            )
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{path} cannot be loaded: {error}") from error
    if not tokenizer.is_fast:
        raise NotEditable(f"{path} has a slow tokenizer; character offsets need a tokenizer.json")
    model.requires_grad_(False)  # from_pretrained leaves it in evaluation mode
    if not placed:
        model.to(torch.device(device))  # type: ignore[arg-type]  # transformers wraps the method
    found = EditableModel(
        model=model, tokenizer=tokenizer, family=family, path=path, fingerprint=identity
    )
    dry_run(found)
    return found


@contextmanager
def bars_on_terminals() -> Iterator[None]:
    """transformers draws its progress only where a person looks; elsewhere it would stand between the lines of a log."""
    hidden = bars.is_progress_bar_enabled() and not sys.stderr.isatty()
    if hidden:
        bars.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if hidden:
            bars.enable_progress_bar()  # type: ignore[no-untyped-call]


@torch.inference_mode()
def dry_run(model: EditableModel) -> None:
    """Prove that the family's parts are this model's: hooks fire, shapes fit, block by block gives the model's own logits.

    Raises: NotEditable: one sentence with what does not fit.
    """
    ids = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]], device=model.device)
    try:
        expected = model.model(input_ids=ids).logits
        with captured_input(model.mlp_out(0)) as keys:
            hidden = model.run(model.embed(ids), 0, len(model.blocks))
        found = model.logits(hidden)
    except (AttributeError, TypeError, RuntimeError, ValueError) as error:
        raise NotEditable(
            f"{model.path}: the family {model.family.blocks!r} does not fit this model ({error})"
        ) from error
    if not torch.allclose(found, expected, atol=1e-3, rtol=1e-3):
        raise NotEditable(
            f"{model.path}: run block by block it gives other logits; the family does not fit this model"
        )
    width = model.weight(0).shape[1]
    if len(keys) != 1 or keys[0].numel() != ids.numel() * width:
        raise NotEditable(
            f"{model.path}: the input of {model.parameter(0)} cannot be read by a hook"
        )
    if model.weight(0).shape[0] != hidden.shape[-1]:
        raise NotEditable(f"{model.path}: the MLP output does not write into the residual stream")
    if model.family.attention_out is not None:
        with captured_input(model.attention_out(0)) as heads:
            model.run(model.embed(ids), 0, 1)
        if len(heads) != 1 or heads[0].shape[-1] % model.heads:
            raise NotEditable(f"{model.path}: the heads' outputs cannot be read by a hook")
