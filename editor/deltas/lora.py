"""A delta as a LoRA adapter that PEFT, vLLM and SGLang load: ΔW = B A of every edited matrix, two files, one rank for all.

An adapter is cumulative: it is the whole delta from the base, of all active facts, and one alone is loaded. All three consumers
were read for what they accept (PEFT 0.21; vLLM and SGLang in 2026):
- `target_modules` is the list of full module paths. PEFT matches a full path exactly, so that `c_proj` of GPT-2's attention is
  left alone; vLLM looks at the tensors' names; SGLang takes the last part of each path ("down_proj") and refuses a regular
  expression. Blocks that are not listed stay the base's in all three (SGLang fills their part of its buffers with zeros), so
  nothing is padded there, and `layers_to_transform`, which neither server reads, is not needed.
- one rank r for all modules, padded with zeros, for SGLang sizes its buffers by r alone; lora_alpha = r makes the scale 1.
- no bias: vLLM rejects one, SGLang ignores it. Head corrections are biases, so a delta with them is refused.
- the base is not named, for its path is this machine's; the manifest has its fingerprint.
- `fan_in_fan_out` where the weight is stored (d_in, d_out); A and B themselves are always those of (d_out, d_in).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from factd.editor.deltas.delta import Delta, Dense, Part
from factd.editor.deltas.truncation import SingularFactors, relative_error, singular_factors
from factd.editor.errors import BadSettings, DamagedArtefact, NotEditable, RankTooHigh, WrongModel
from factd.editor.families import Family, name_in
from factd.editor.files.folders import Sha256, sha256_file
from factd.editor.models.model import family_of, fingerprint, weight_files

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
MAX_RANK = 512  # vLLM's largest rank
MAX_ROUNDING_ERROR = 0.01  # of the delta, at most, may a dtype lose; bfloat16 loses 0.0024


def fill_adapter(
    delta: Delta,
    base: Path,
    folder: Path,
    *,
    dtype: str = "float32",
    max_rank: int = MAX_RANK,
    kept: Delta | None = None,
    sha256: Sha256 = sha256_file,
) -> dict[str, Any]:
    """The two files of an adapter in a folder that is there; what a manifest is to say. One that changes nothing is zeros.

    kept: the delta, truncated, which is written in its place. Errors are always of the whole delta: what truncation and the
    dtype lost, relative Frobenius norms. sha256: may know the base's files (editor/files/checksum_cache.py).

    Raises: RankTooHigh: it fits into no adapter of max_rank. NotEditable: it holds what an adapter cannot. WrongModel: it is for
    other weights. DamagedArtefact: the base lacks a matrix of it. BadSettings: the dtype cannot hold it, or is none.
    """
    if dtype not in DTYPES:
        raise BadSettings(f"no dtype {dtype!r} for an adapter; there are {', '.join(DTYPES)}")
    cut = _cut_of(delta, kept)
    family = _refuse_unadaptable(delta, base, sha256)
    written = (kept or delta).parts
    spectra = {name: singular_factors(part) for name, part in written.items()}
    spectra = {name: found for name, found in spectra.items() if found.rank}
    rank = max((found.rank for found in spectra.values()), default=0)
    if rank > max_rank:
        raise RankTooHigh(rank, max_rank)
    pairs = {name: _cast(found, rank, DTYPES[dtype]) for name, found in spectra.items()}
    rounded = {name: relative_error(written[name], *pair) for name, pair in pairs.items()}
    if not all(error <= MAX_ROUNDING_ERROR for error in rounded.values()):
        raise BadSettings(
            f"{dtype} cannot hold the delta; write the adapter in bfloat16 or float32"
        )
    errors = (
        {name: relative_error(delta.parts[name], *pair) for name, pair in pairs.items()}
        if kept
        else rounded
    )
    if pairs:
        _write(folder, family, pairs, rank)
    else:
        fill_zero_adapter(base, folder, dtype=dtype, sha256=sha256)
    return {
        "base_fingerprint": delta.base_fingerprint,
        "delta_id": delta.id,
        "rank": cut.get("rank", rank),  # of the delta
        "written_rank": rank,
        "max_rank": max_rank,
        "dtype": dtype,
        "truncated_id": kept.id if kept else None,
        "error": max(errors.values(), default=0.0),
        "modules": {
            module_name(name): {"rank": spectra[name].rank, "error": error}
            for name, error in errors.items()
        },
    }


def fill_zero_adapter(
    base: Path, folder: Path, *, dtype: str = "float32", sha256: Sha256 = sha256_file
) -> dict[str, Any]:
    """An adapter of rank 1 that changes nothing, so that a server gives the base under the name that its users ask for.

    Raises: DamagedArtefact: the base lacks its first edited matrix. NotEditable: it takes no adapter.
    """
    family, shapes = family_of(base), _shapes(base)
    if family.attention_out is None:
        raise NotEditable(_no_module(base))
    name = family.mlp_out.format(0) + ".weight"
    stored = name_in(family, name, shapes)
    if stored is None:
        raise DamagedArtefact(base, f"has no tensor {name!r}")
    left, right = (torch.zeros(size, 1, dtype=DTYPES[dtype]) for size in shapes[stored])
    _write(folder, family, {name: (left, right)}, 1)
    return {
        "base_fingerprint": fingerprint(base, sha256),
        "delta_id": None,
        "rank": 0,
        "dtype": dtype,
    }


def _no_module(base: Path) -> str:
    return (
        f"{base}: the matrix that is edited in a state-space model is no module that takes an adapter; "
        "publish the checkpoint"
    )


def module_name(name: str) -> str:
    """The module of a weight."""
    return name.removesuffix(".weight")


def _cut_of(delta: Delta, kept: Delta | None) -> Mapping[str, Any]:
    """What a truncated delta says of where it comes from. Raises: WrongModel: not from this one."""
    cut: Mapping[str, Any] = kept.settings.get("truncated", {}) if kept else {}
    if kept is not None and cut.get("of") != delta.id:
        raise WrongModel(
            f"the truncated delta {kept.id[:12]} was made of another delta than {delta.id[:12]}"
        )
    return cut


def _refuse_unadaptable(delta: Delta, base: Path, sha256: Sha256) -> Family:
    """The family of a base of which a delta changes edited matrices alone. Raises: WrongModel, NotEditable, DamagedArtefact."""
    identity, family = fingerprint(base, sha256), family_of(base)
    if delta.base_fingerprint != identity:
        raise WrongModel(
            f"the delta is for the base {delta.base_fingerprint[:12]}, {base} is {identity[:12]}"
        )
    if any(name.endswith(".bias") for name in delta.parts):
        raise NotEditable(
            "the delta holds head corrections, which are biases, and servers reject a bias in an adapter; publish the checkpoint "
            "alone, or switch them off (`factd heads off`) and make it again (`factd edit --publish`)"
        )
    if family.attention_out is None:
        raise NotEditable(_no_module(base))
    edited = re.escape(family.mlp_out).replace(r"\{\}", r"\d+") + r"\.weight"
    shapes = _shapes(base)
    for name, part in delta.parts.items():
        if not re.fullmatch(edited, name):
            raise NotEditable(
                f"{name!r} is no matrix that takes an adapter; publish the checkpoint"
            )
        stored = name_in(family, name, shapes)
        if stored is None or shapes[stored] != _shape(part):
            raise DamagedArtefact(base, f"has no tensor {name!r} of the shape {_shape(part)}")
    return family


def _shapes(base: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for file in weight_files(base):
        with safe_open(file, framework="pt") as tensors:
            names = tensors.keys()
            found |= {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    return found


def _shape(part: Part) -> tuple[int, ...]:
    if isinstance(part, Dense):
        return tuple(part.values.shape)
    return len(part.left), len(part.right)


def _cast(found: SingularFactors, rank: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Factors (rows, rank), (columns, rank) in a dtype, padded with zeros."""
    pad = (0, rank - found.rank)
    left, right = (torch.nn.functional.pad(half, pad).to(dtype) for half in found.balanced())
    return left, right


def _write(
    folder: Path,
    family: Family,
    pairs: Mapping[str, tuple[Tensor, Tensor]],
    rank: int,
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, (left, right) in pairs.items():
        out, inward = (right, left) if family.transposed else (left, right)
        prefix = f"base_model.model.{module_name(name)}"
        tensors[f"{prefix}.lora_A.weight"] = inward.T.contiguous()  # (rank, d_in)
        tensors[f"{prefix}.lora_B.weight"] = out.contiguous()  # (d_out, rank)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = adapter_config(family, sorted(map(module_name, pairs)), rank)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")


def adapter_config(family: Family, modules: list[str], rank: int) -> dict[str, Any]:
    """What PEFT, vLLM and SGLang read; what is not said is PEFT's default, which changes nothing of a trained adapter."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": None,  # no path of this machine: the same delta gives the same bytes
        "inference_mode": True,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": modules,
        "fan_in_fan_out": family.transposed,
        "bias": "none",
        "use_rslora": False,
        "use_dora": False,
        "modules_to_save": None,
    }
