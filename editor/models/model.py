"""A model that can be edited: loaded, fingerprinted, checked against its family."""

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
from transformers.utils import logging as transformers_logging

from factd.editor import plugins
from factd.editor.errors import BadSettings, ModelNotFound, NotEditable
from factd.editor.families import Family
from factd.editor.families._kv_cache import KvState
from factd.editor.files.folders import Sha256, sha256_file
from factd.editor.models.hooks import captured_input
from factd.editor.models.workers import Workers

REFUSED_KEYS = {  # key of config.json that is set -> kind of model that cannot be edited
    "num_local_experts": "a mixture of experts",
    "num_experts": "a mixture of experts",
    "num_experts_per_tok": "a mixture of experts",
    "n_routed_experts": "a mixture of experts",
    "quantization_config": "quantised",
    "is_encoder_decoder": "an encoder-decoder",
}


@dataclass(frozen=True, kw_only=True)
class EditableModel:
    """A causal language model with what the editor must know about it.

    Its weights change only inside contexts that put them back, as `applied`
    (editor/deltas/delta.py).
    """

    model: Any  # the transformers model, in evaluation mode, without gradients
    tokenizer: Any  # a fast tokenizer
    family: Family
    path: Path
    fingerprint: str  # SHA-256 of configuration, tokenizer and weights
    workers: Workers | None = None  # run what is independent for each fact; None: this process does
    batch_sizes: dict[str, int] = field(
        default_factory=dict, compare=False
    )  # kind of work -> the size that fitted into memory

    @property
    def device(self) -> torch.device:
        """The device of the weights; of the first ones if they lie on several devices."""
        return next(self.model.parameters()).device  # type: ignore[no-any-return]  # transformers is untyped

    @property
    def dtype(self) -> str:
        """The data type that the model computes in: "float32", "bfloat16", ..."""
        return str(self.weight(0).dtype).removeprefix("torch.")

    @property
    def blocks(self) -> Any:
        """The list of the model's blocks, a torch `ModuleList`."""
        return self.model.get_submodule(self.family.blocks)

    def mlp_out(self, layer: int) -> Any:
        """The module of a block whose weight is edited."""
        return self.model.get_submodule(self.family.mlp_out.format(layer))

    def weight(self, layer: int) -> Tensor:
        """A view of the edited weight of a block, (d_out, d_in) whatever the family's layout."""
        stored: Tensor = self.mlp_out(layer).weight
        return stored.T if self.family.transposed else stored

    def parameter(self, layer: int) -> str:
        """The name of the edited weight in memory; `Family.renames` has its name in the files."""
        return self.family.mlp_out.format(layer) + ".weight"

    def embed(self, ids: Tensor) -> Tensor:
        """The residual stream before block 0, (rows, length, d), of token ids (rows, length)."""
        return self.family.embed(self.model, ids)

    def run(self, hidden: Tensor, start: int, stop: int, past: KvState = None) -> Tensor:
        """The stream before block `stop`, from that before block `start`; both (rows, length, d).

        past: a cache of the tokens before those that are run, or a recorder of their keys and
        values. None: the texts start with the tokens that are run.
        """
        for layer in self.blocks[start:stop]:
            hidden = self.family.block(self.model, layer, hidden, past)
        return hidden.to(self.device)  # blocks may lie on several devices

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits (n, vocabulary) of the stream after the last block at chosen positions (n, d)."""
        norm = self.model.get_submodule(self.family.norm)
        return self.unembedded(norm(hidden.to(next(norm.parameters()).device)))

    def unembedded(self, normed: Tensor) -> Tensor:
        """Logits (n, vocabulary) of the final norm's output at chosen positions (n, d)."""
        logits: Tensor = self.model.get_submodule(self.family.unembedding)(normed)
        limit = (
            getattr(self.text_config, self.family.softcap, None) if self.family.softcap else None
        )
        logits = logits.to(self.device)
        return logits if limit is None else limit * torch.tanh(logits / limit)

    @property
    def text_config(self) -> Any:
        """The configuration of the language model, without that of an image encoder."""
        return self.model.config.get_text_config()

    @property
    def heads(self) -> int:
        """How many attention heads a block has. Raises: NotEditable: the model has no attention."""
        self.attention_out(0)
        return int(self.text_config.num_attention_heads)

    def attention_out(self, layer: int) -> Any:
        """A block's attention output projection. Raises: NotEditable: there is no attention."""
        if self.family.attention_out is None:
            raise NotEditable(f"{self.path} has no attention heads to correct; use memit")
        return self.model.get_submodule(self.family.attention_out.format(layer))

    def head_bias(self, layer: int) -> str:
        """The name in memory of the bias that head corrections of a block are folded into.

        Raises: NotEditable: the model has no attention.
        """
        carrier = self.family.carrier
        module = carrier.module if carrier else self.family.attention_out
        if module is None:
            raise NotEditable(f"{self.path} has no attention heads to correct; use memit")
        return module.format(layer) + ".bias"

    def head_weight(self, layer: int) -> Tensor:
        """The attention output weight of a block as (d, heads, d_head): a view.

        Raises: NotEditable: the model has no attention.
        """
        stored: Tensor = self.attention_out(layer).weight
        matrix = stored.T if self.family.transposed else stored
        return matrix.reshape(len(matrix), self.heads, -1)

    def before_norm(self, layer: int, keys: Tensor, wanted: Tensor) -> Tensor:
        """What the edited matrix must add at keys (n, d_in) so that the stream gains `wanted`.

        The result is (n, d). It is `wanted` (n, d) itself if the family adds the MLP output to the
        stream as it is. Behind an RMS norm (Gemma 2 and 3, OLMo 2) only the direction of the norm's
        input m counts, y = g m / rms(m). Then the nearest reachable input of the present size is
        taken. What the norm cannot reach is left to the next layer, and it shows in the z error.
        """
        if self.family.mlp_norm is None:
            return wanted
        norm = self.model.get_submodule(self.family.mlp_norm.format(layer))
        now = self.mlp_out(layer)(keys.to(self.weight(layer).dtype)).float()
        written = norm(now).float()
        unit = now / now.pow(2).mean(-1, keepdim=True).sqrt()
        # g, whatever constant the model class adds to the norm's weight
        gain = (written * unit).sum(0) / unit.pow(2).sum(0)
        aimed = (written + wanted) / torch.where(gain.abs() < 1e-6, torch.ones_like(gain), gain)
        size = now.norm(dim=-1, keepdim=True)
        residual: Tensor = aimed / aimed.norm(dim=-1, keepdim=True) * size - now
        return residual


def minimum_rows(device: torch.device) -> int:
    """From how many rows on a matrix product gives a row the same bits whatever the number of rows.

    Below about four rows a thread, a CPU uses other kernels (MKL; a test in
    tests/unit/editor/values/test_optimizer.py shows it). On a GPU kernels depend on every shape, so
    that no number is enough; it is 1 there.
    """
    return 16 * torch.get_num_threads() if device.type == "cpu" else 1


def remember_half(model: EditableModel, kind: str, size: int, *, least: int) -> None:
    """Set the model's batch size for a kind of work to half of a size that did not fit into memory.

    To be called while an OutOfMemoryError is handled.

    Raises: that OutOfMemoryError: the size that did not fit is `least` already.
    """
    if size <= least:
        raise
    model.batch_sizes[kind] = max(least, size // 2)
    if model.device.type == "cuda":
        torch.cuda.empty_cache()


def weight_files(path: Path) -> list[Path]:
    """The safetensors files of a checkpoint, sorted by name."""
    return sorted(path.glob("*.safetensors"))


def fingerprint_files(path: Path) -> list[Path]:
    """The files that a checkpoint's fingerprint covers: configuration, tokenizer, weights."""
    files = [path / "config.json", path / "tokenizer.json", *weight_files(path)]
    return [file for file in files if file.is_file()]


def fingerprint(path: Path, sha256: Sha256 = sha256_file) -> str:
    """SHA-256 over a checkpoint's configuration, tokenizer and weights; loads no model.

    sha256: computes the SHA-256 of a file; one with a cache (editor/files/checksum_cache.py) need
    not read files that it knows.

    Raises: ModelNotFound: the folder has no config.json or no safetensors.
    """
    files = fingerprint_files(path)
    if not (path / "config.json").is_file() or not weight_files(path):
        raise ModelNotFound(
            f"{path} is no model: it needs config.json and *.safetensors; "
            "name the folder of a checkpoint"
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {sha256(file)}\n".encode())
    return digest.hexdigest()


def family_of(path: Path) -> Family:
    """The family of a checkpoint, from its config.json.

    Raises: ModelNotFound: config.json cannot be read. NotEditable: its kind of model cannot be
    edited.
    """
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelNotFound(f"{path} is no model: config.json cannot be read ({error})") from error
    for key, kind in REFUSED_KEYS.items():
        if config.get(key):
            raise NotEditable(
                f"{path} is {kind} ({key} in config.json); "
                "name a dense decoder-only model in full precision"
            )
    try:
        family: Family = plugins.load("factd.editor.families", str(config.get("model_type"))).FAMILY
    except BadSettings as error:
        raise NotEditable(f"{path}: {error}") from error
    return family


def load_model(path: Path, *, device: str = "cpu", dtype: str | None = "float32") -> EditableModel:
    """The model of a local checkpoint, ready to be edited.

    dtype: "float32" computes exactly on the upcast weights; None keeps the checkpoint's own.
    device: "auto" spreads the model over several devices, as accelerate places it (`pip install
    factd[accelerate]`); the solve of a layer then runs on the first of them.

    Raises: ModelNotFound: the folder holds no model that can be loaded. NotEditable: the model's
    kind, its tokenizer or its parts do not allow edits.
    """
    placed = {"device_map": "auto"} if device == "auto" else {}
    family, identity = family_of(path), fingerprint(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        with progress_bars_on_terminals():
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
        raise NotEditable(
            f"{path} has a slow tokenizer; factd needs character offsets, so add a tokenizer.json"
        )
    model.requires_grad_(False)  # from_pretrained leaves it in evaluation mode
    if not placed:
        model.to(torch.device(device))  # type: ignore[arg-type]  # transformers wraps the method
    editable = EditableModel(
        model=model, tokenizer=tokenizer, family=family, path=path, fingerprint=identity
    )
    dry_run(editable)
    return editable


@contextmanager
def progress_bars_on_terminals() -> Iterator[None]:
    """Lets transformers draw progress bars on terminals only, not between lines of a log."""
    hidden = transformers_logging.is_progress_bar_enabled() and not sys.stderr.isatty()
    if hidden:
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if hidden:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@torch.inference_mode()
def dry_run(model: EditableModel) -> None:
    """Check that the family describes this model.

    Hooks must fire and shapes must fit. The logits of blocks that are run one by one must be the
    model's own, to 1e-3.

    Raises: NotEditable: the sentence says what does not fit.
    """
    ids = torch.tensor([[1, 2, 3, 4], [4, 3, 2, 1]], device=model.device)
    try:
        expected = model.model(input_ids=ids).logits
        with captured_input(model.mlp_out(0)) as keys:
            hidden = model.run(model.embed(ids), 0, len(model.blocks))
        logits = model.logits(hidden)
    except (AttributeError, TypeError, RuntimeError, ValueError) as error:
        raise NotEditable(
            f"{model.path}: the family {model.family.blocks!r} does not fit this model ({error})"
        ) from error
    if not torch.allclose(logits, expected, atol=1e-3, rtol=1e-3):
        raise NotEditable(
            f"{model.path}: block by block it gives other logits; "
            "the family does not fit this model"
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
