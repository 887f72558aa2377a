"""Finished pieces of a long measurement, kept on disk so that a killed run goes on.

A piece lies under the hash of everything that it depends on, so that no piece is ever out of date.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor


@dataclass(frozen=True)
class Pieces:
    """A folder of finished pieces."""

    folder: Path

    def path(self, key: Mapping[str, Any], ending: str) -> Path:
        """The file of a piece. key: JSON, everything that the piece depends on."""
        content = json.dumps(key, sort_keys=True, ensure_ascii=False).encode()
        return (
            self.folder / str(key["piece"]) / f"{hashlib.sha256(content).hexdigest()[:32]}{ending}"
        )

    def json(self, key: Mapping[str, Any], compute: Callable[[], Any]) -> Any:
        """A JSON value: from the folder, or computed and kept there."""
        path = self.path(key, ".json")
        if not path.exists():
            text = json.dumps({"key": key, "value": compute()}, ensure_ascii=False)
            _whole(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))
        return json.loads(path.read_text(encoding="utf-8"))["value"]

    def tensors(
        self, key: Mapping[str, Any], compute: Callable[[], Mapping[str, Tensor]]
    ) -> dict[str, Tensor]:
        """Named tensors: from the folder, or computed and kept there."""
        path = self.path(key, ".safetensors")
        if not path.exists():
            found = {name: tensor.contiguous() for name, tensor in compute().items()}
            _whole(path, lambda part: save_file(found, part))
        return dict(load_file(path))


def number(value: float) -> Tensor:
    """A number as a tensor of a piece, float64."""
    return torch.tensor(value, dtype=torch.float64)


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    write(part)
    part.replace(path)
