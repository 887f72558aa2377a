"""One safetensors file with other bytes where some of its tensors lie: what is not touched is not even read."""

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

MAX_HEADER_BYTES = 100_000_000  # bytes; the format's own bound


@dataclass(frozen=True)
class ByteRange:
    """Where a tensor lies in its file."""

    start: int  # bytes from the file's beginning
    stop: int


def byte_ranges(file: Path) -> dict[str, ByteRange]:
    """Where each tensor of a safetensors file lies. Raises: DamagedArtefact: the file has no such header."""
    try:
        with file.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError("a header of this length is none")
            header = json.loads(opened.read(length))
        first = 8 + length
        found = {n: t["data_offsets"] for n, t in header.items() if n != "__metadata__"}
        return {n: ByteRange(first + start, first + stop) for n, (start, stop) in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedArtefact(file, f"no safetensors header ({error})") from error


def write_shard(source: Path, parts: Mapping[str, Part], out: Path) -> None:
    """A copy of a file in which the parts are added to their tensors, each summed in float32 and rounded once to its dtype.

    Only these tensors are written, at their data offsets, one in memory at a time; all else is the file's own bytes, in
    shared blocks where the file system has such. Not yet durable. Raises: DamagedArtefact: a tensor has another size.
    """
    copy_file(source, out)
    there = byte_ranges(source)
    with safe_open(source, framework="pt") as tensors, out.open("r+b") as file:
        for name in sorted(parts.keys() & there.keys()):
            content = _bytes(fold(tensors.get_tensor(name), parts[name]))
            place = there[name]
            if content.nbytes != place.stop - place.start:
                raise DamagedArtefact(
                    source, f"its tensor {name!r} is of another size than the delta's"
                )
            file.seek(place.start)
            file.write(content)


def _bytes(tensor: Tensor) -> memoryview:
    """A tensor's bytes as safetensors holds them: row-major."""
    return tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
