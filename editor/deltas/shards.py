"""Changes some tensors of a safetensors file in place. The other tensors are not even read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from factd.editor.deltas.delta import Part, fold
from factd.editor.errors import DamagedArtefact
from factd.editor.files.copying import copy_file

MAX_HEADER_BYTES = 100_000_000  # the bound of the format itself


@dataclass(frozen=True)
class ByteRange:
    """Where a tensor lies in its file."""

    start: int  # bytes from the beginning of the file
    stop: int


def byte_ranges(file: Path) -> dict[str, ByteRange]:
    """Where each tensor of a safetensors file lies.

    Raises: DamagedArtefact: the file has no valid safetensors header.
    """
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes is too long")
            header = json.loads(opened.read(length))
        first = 8 + length
        offsets = {n: t["data_offsets"] for n, t in header.items() if n != "__metadata__"}
        return {n: ByteRange(first + start, first + stop) for n, (start, stop) in offsets.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedArtefact(
            file, f"it has no valid safetensors header ({error}); restore it"
        ) from error


def write_shard(source: Path, parts: Mapping[str, Part], out: Path) -> None:
    """Copy a safetensors file and add the parts to their tensors in the copy.

    Each sum is taken in float32 and rounded once to the tensor's dtype. Only these tensors are
    written, at their data offsets, one in memory at a time. All other bytes are the file's own, in
    shared blocks if the file system can share them. The copy is not fsynced.

    Raises: DamagedArtefact: a tensor differs in size from its part.
    """
    copy_file(source, out)
    ranges = byte_ranges(source)
    with safe_open(source, framework="pt") as tensors, out.open("r+b") as file:
        for name in sorted(parts.keys() & ranges.keys()):
            content = _bytes(fold(tensors.get_tensor(name), parts[name]))
            place = ranges[name]
            if content.nbytes != place.stop - place.start:
                raise DamagedArtefact(
                    source, f"its tensor {name!r} differs in size from the delta; restore the base"
                )
            file.seek(place.start)
            file.write(content)


def _bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor as safetensors stores them: row-major."""
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
