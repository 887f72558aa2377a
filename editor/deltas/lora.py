"""A delta as a LoRA adapter that PEFT, vLLM and SGLang load: ΔW = B A for every edited matrix.

An adapter is two files. It is cumulative: it holds the whole delta from the base, with all active
facts, and only one adapter is loaded at a time. The format follows from the source code of its
three consumers (PEFT 0.21; vLLM and SGLang in 2026):
- `target_modules` lists full module paths. PEFT matches a full path exactly, so `c_proj` in GPT-2's
  attention is not touched. vLLM looks at the names of the tensors. SGLang takes the last part of
  each path ("down_proj") and refuses a regular expression. In all three, blocks that are not listed
  stay the base's (SGLang fills their part of its buffers with zeros). So nothing is padded there,
  and `layers_to_transform`, which neither server reads, is not needed.
- All modules have one rank r and are padded with zeros, because SGLang sizes its buffers by r
  alone. lora_alpha = r makes the scale 1.
- There is no bias: vLLM rejects one, SGLang ignores it. Head corrections are biases, so a delta
  that holds them is refused.
- The base is not named, because its path belongs to this machine. The manifest has its fingerprint.
- `fan_in_fan_out` is set if the weight is stored as (d_in, d_out). A and B themselves are always
  those of a (d_out, d_in) weight.
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
MAX_RANK = 512  # the largest rank that vLLM accepts
MAX_ROUNDING_ERROR = 0.01  # relative Frobenius norm that a dtype may lose; bfloat16 loses 0.0024


def fill_adapter(
    delta: Delta,
    base: Path,
    folder: Path,
    *,
    dtype: str = "float32",
    max_rank: int = MAX_RANK,
    truncated: Delta | None = None,
    sha256: Sha256 = sha256_file,
) -> dict[str, Any]:
    """Write the two files of an adapter into an existing folder.

    Returns the entries for its manifest.

    truncated: a truncation of the delta, which is written in its place. The errors in the manifest
    are relative Frobenius norms against the whole delta: what truncation and the dtype lost
    together. A delta that changes nothing is written as zeros. sha256 may be a cache of the base's
    checksums (editor/files/checksum_cache.py).

    Raises: RankTooHigh: the delta's rank is above max_rank. NotEditable: the delta changes what an
    adapter cannot. WrongModel: the delta was computed for other weights. DamagedArtefact: the base
    lacks a matrix of the delta. BadSettings: the dtype is unknown or cannot hold the delta.
    """
    if dtype not in DTYPES:
        raise BadSettings(f"unknown dtype {dtype!r} for an adapter; choose {', '.join(DTYPES)}")
    truncation = _truncation_of(delta, truncated)
    family = _refuse_unadaptable(delta, base, sha256)
    written = (truncated or delta).parts
    factors = {name: singular_factors(part) for name, part in written.items()}
    factors = {name: own for name, own in factors.items() if own.rank}
    rank = max((own.rank for own in factors.values()), default=0)
    if rank > max_rank:
        raise RankTooHigh(rank, max_rank)
    pairs = {name: _cast(own, rank, DTYPES[dtype]) for name, own in factors.items()}
    rounded = {name: relative_error(written[name], *pair) for name, pair in pairs.items()}
    if not all(error <= MAX_ROUNDING_ERROR for error in rounded.values()):
        raise BadSettings(
            f"{dtype} loses too much of the delta; write the adapter in bfloat16 or float32"
        )
    errors = (
        {name: relative_error(delta.parts[name], *pair) for name, pair in pairs.items()}
        if truncated
        else rounded
    )
    if pairs:
        _write(folder, family, pairs, rank)
    else:
        fill_zero_adapter(base, folder, dtype=dtype, sha256=sha256)
    return {
        "base_fingerprint": delta.base_fingerprint,
        "delta_id": delta.id,
        "rank": truncation.get("rank", rank),  # of the whole delta
        "written_rank": rank,
        "max_rank": max_rank,
        "dtype": dtype,
        "truncated_id": truncated.id if truncated else None,
        "error": max(errors.values(), default=0.0),
        "modules": {
            module_name(name): {"rank": factors[name].rank, "error": error}
            for name, error in errors.items()
        },
    }


def fill_zero_adapter(
    base: Path, folder: Path, *, dtype: str = "float32", sha256: Sha256 = sha256_file
) -> dict[str, Any]:
    """Write an adapter of rank 1 that changes nothing, into an existing folder.

    Returns its manifest entries.

    With it, a server answers with the base under the name that its users ask for.

    Raises: DamagedArtefact: the base lacks its first editable matrix. NotEditable: the base takes
    no adapter.
    """
    family, shapes = family_of(base), _shapes(base)
    if family.attention_out is None:
        raise NotEditable(_no_module(base))
    name = family.mlp_out.format(0) + ".weight"
    stored = name_in(family, name, shapes)
    if stored is None:
        raise DamagedArtefact(base, f"it has no tensor {name!r}; restore the base")
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
        f"{base}: in a state-space model, an adapter cannot change the matrix that is edited; "
        "publish the checkpoint"
    )


def module_name(name: str) -> str:
    """The path of the module that holds a weight."""
    return name.removesuffix(".weight")


def _truncation_of(delta: Delta, truncated: Delta | None) -> Mapping[str, Any]:
    """How a delta was truncated: the ids and ranks in the settings of its truncation.

    Raises: WrongModel: the truncation was made from another delta.
    """
    origin: Mapping[str, Any] = truncated.settings.get("truncated", {}) if truncated else {}
    if truncated is not None and origin.get("of") != delta.id:
        raise WrongModel(
            f"the truncated delta {truncated.id[:12]} was not made from the delta {delta.id[:12]}; "
            "truncate this delta again"
        )
    return origin


def _refuse_unadaptable(delta: Delta, base: Path, sha256: Sha256) -> Family:
    """The family of the base, if the delta changes only matrices that an adapter can change.

    Raises: WrongModel, NotEditable, DamagedArtefact.
    """
    identity, family = fingerprint(base, sha256), family_of(base)
    if delta.base_fingerprint != identity:
        raise WrongModel(
            f"the delta was computed for the base {delta.base_fingerprint[:12]}, but {base} is "
            f"{identity[:12]}; choose the base it was computed for"
        )
    if any(name.endswith(".bias") for name in delta.parts):
        raise NotEditable(
            "the delta holds head corrections, which are biases, "
            "and servers reject a bias in an adapter; publish only the checkpoint, or switch "
            "the corrections off (`factd heads off`) and edit again (`factd edit --publish`)"
        )
    if family.attention_out is None:
        raise NotEditable(_no_module(base))
    edited = re.escape(family.mlp_out).replace(r"\{\}", r"\d+") + r"\.weight"
    shapes = _shapes(base)
    for name, part in delta.parts.items():
        if not re.fullmatch(edited, name):
            raise NotEditable(f"an adapter cannot change {name!r}; publish the checkpoint")
        stored = name_in(family, name, shapes)
        if stored is None or shapes[stored] != _shape(part):
            raise DamagedArtefact(
                base, f"it has no tensor {name!r} of the shape {_shape(part)}; restore the base"
            )
    return family


def _shapes(base: Path) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for file in weight_files(base):
        with safe_open(file, framework="pt") as tensors:
            names = tensors.keys()
            shapes |= {name: tuple(tensors.get_slice(name).get_shape()) for name in names}
    return shapes


def _shape(part: Part) -> tuple[int, ...]:
    if isinstance(part, Dense):
        return tuple(part.values.shape)
    return len(part.left), len(part.right)


def _cast(factors: SingularFactors, rank: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Factors (rows, rank) and (columns, rank) in a dtype, padded with zeros up to the rank."""
    pad = (0, rank - factors.rank)
    left, right = (torch.nn.functional.pad(half, pad).to(dtype) for half in factors.balanced())
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
    """The adapter_config.json that PEFT, vLLM and SGLang read.

    Keys that are left out take PEFT's defaults, which do not change a trained adapter.
    """
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        # no path of this machine: the same delta gives the same bytes everywhere
        "base_model_name_or_path": None,
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
