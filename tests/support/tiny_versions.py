"""Versions of a tiny model to hand over: checkpoints and adapters of the same random changes."""

import hashlib
import json
import shutil
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from factd.daemon.servers import Version
from factd.editor.deltas.checkpoint import write_checkpoint
from factd.editor.deltas.delta import Delta, LowRank
from factd.editor.models.model import fingerprint
from support.paths import GOLDEN
from support.tiny_model import TinyModel

MODEL = GOLDEN / "llama" / "model"
WEIGHTS = tuple(f"model.layers.{layer}.mlp.down_proj.weight" for layer in (1, 2))
RANK = 4
PROMPTS = ("The currency of Croatia is the", "It is said of Japan", "Paris lies in")
TOKENS = 3


def made_version(
    root: Path, number: int, *, seed: int | None = None, scale: float = 1.0
) -> Version:
    """A version in the folder `versions/N` with its adapter.

    Version 0 is the base, and its adapter changes nothing.
    """
    folder = root / "versions" / str(number)
    parts = _parts(number if seed is None else seed, scale if number else 0.0)
    delta = Delta(
        parts=parts,
        base_fingerprint=fingerprint(MODEL),
        batch_id=str(number),
        method="test",
    )
    write_checkpoint(MODEL, delta if number else None, folder)
    write_adapter(parts, folder / "adapter")
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    return Version(
        number=number, folder=str(folder), adapter=str(folder / "adapter"), digest=digest
    )


def _parts(seed: int, scale: float) -> dict[str, LowRank]:
    """A random change of some weights, large enough that answers change."""
    made = torch.Generator().manual_seed(seed)
    return {
        name: LowRank(
            scale * torch.randn(64, RANK, generator=made), torch.randn(160, RANK, generator=made)
        )
        for name in WEIGHTS
    }


def write_adapter(parts: dict[str, LowRank], folder: Path, *, alpha: int = 8) -> None:
    """A PEFT adapter of a change."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tensors = {}
    for name, part in parts.items():
        module = "base_model.model." + name.removesuffix(".weight")
        tensors[f"{module}.lora_A.weight"] = part.right.T.contiguous()
        tensors[f"{module}.lora_B.weight"] = (part.left * (RANK / alpha)).contiguous()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": alpha, "fan_in_fan_out": False}
    targets = sorted({name.split(".")[-2] for name in parts})
    more = {"target_modules": targets, "bias": "none", "task_type": "CAUSAL_LM"}
    (folder / "adapter_config.json").write_text(json.dumps(config | more))


@cache
def answer(folder: str, prompt: str, tokens: int = TOKENS) -> tuple[str, tuple[float, ...]]:
    """What a version's checkpoint says by our own forward pass."""
    text, logprobs = TinyModel.load(Path(folder)).greedy(prompt, tokens)
    return text, tuple(logprobs)


def answers(version: Version, tokens: int = TOKENS) -> list[str]:
    """What a version says to each of the prompts."""
    return [answer(version.folder, prompt, tokens)[0] for prompt in PROMPTS]
