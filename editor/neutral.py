"""An adapter that changes nothing: for servers whose users ask for an adapter by its name and are to get the base."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from editor.adapter import CONFIG, WEIGHTS, adapter_config
from editor.errors import DamagedArtefact
from editor.families import Family, name_in
from editor.model import family_of, weight_files


def fill_neutral(base: Path, folder: Path) -> dict[str, Any]:
    """The two files of an adapter of rank 1 and zeros in a folder that is there; what a manifest is to say.

    Of the first matrix that edits change; no files where the base's class takes no adapter (state spaces).
    """
    family = family_of(base)
    if family.attention_out is None:
        return {}
    module = family.mlp_out.format(0)
    rows, columns = _shape(base, family, f"{module}.weight")
    out, inward = (columns, rows) if family.transposed else (rows, columns)
    tensors = {
        f"base_model.model.{module}.lora_A.weight": torch.zeros(1, inward),
        f"base_model.model.{module}.lora_B.weight": torch.zeros(out, 1),
    }
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = adapter_config(family, [module], 1)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    return {"rank": 0, "written_rank": 1}


def _shape(base: Path, family: Family, name: str) -> tuple[int, int]:
    """Of a matrix in a checkpoint's files."""
    for file in weight_files(base):
        with safe_open(file, framework="pt") as tensors:
            stored = name_in(family, name, tuple(tensors.keys()))
            if stored is not None:
                rows, columns = tensors.get_slice(stored).get_shape()
                return int(rows), int(columns)
    raise DamagedArtefact(base, f"has no tensor {name!r}")
