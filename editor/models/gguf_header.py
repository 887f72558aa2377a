"""What a GGUF file says before its tensors: its metadata and the table of its tensors.

The format is https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little
endian. The reader of the package `gguf` makes an array of every string: it needs a minute for the
262,144 tokens of Gemma 3, and this one a second.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from factd.editor.errors import DamagedArtefact, NotEditable

MAGIC = b"GGUF"
VERSIONS = (2, 3)
STRING, ARRAY = 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q"} | {
    12: "d"
}  # value type -> code of `struct`
MOST_DIMENSIONS = 4  # GGML_MAX_DIMS


@dataclass(frozen=True, kw_only=True)
class TensorEntry:
    """One tensor of the file: how it is stored, and where."""

    name: str
    shape: tuple[int, ...]  # of its values, the slowest dimension first
    kind: GGMLQuantizationType
    start: int  # first byte in the file
    size: int  # bytes

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of its bytes: those of a row lie together."""
        rows = prod(self.shape[:-1])
        return (*self.shape[:-1], self.size // rows if rows else 0)


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """The metadata and the tensors of a GGUF file."""

    path: Path
    metadata: Mapping[str, Any]  # numbers, booleans, strings, and tuples of them
    tensors: tuple[TensorEntry, ...]

    @property
    def architecture(self) -> str:
        """The name of the architecture, "" if the file does not say it."""
        return str(self.metadata.get("general.architecture", ""))

    def own(self, key: str) -> Any:
        """The value of `ARCHITECTURE.key`, or None."""
        return self.metadata.get(f"{self.architecture}.{key}")


def read_header(path: Path) -> GgufHeader:
    """The header of a GGUF file. No tensor is read.

    Raises: DamagedArtefact: the file cannot be read, is no GGUF file, or is cut off. NotEditable: a
    tensor has a type that is not known.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise DamagedArtefact(path, "it is no GGUF file; name a file that ends in .gguf")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
                header = _parsed(path, _Cursor(mapped, position=len(MAGIC)))
    except OSError as error:
        raise DamagedArtefact(
            path, f"it cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise DamagedArtefact(
            path, f"its header is cut off or damaged ({error}); download it again"
        ) from error
    end = max((tensor.start + tensor.size for tensor in header.tensors), default=0)
    if end > size:
        raise DamagedArtefact(
            path, f"it has {size} bytes and its tensors end at byte {end}; download it again"
        )
    return header


@dataclass
class _Cursor:
    """A place in the mapped file. Reading moves it on."""

    mapped: mmap.mmap
    position: int

    def number(self, code: str) -> Any:
        return self.numbers(code, 1)[0]

    def numbers(self, code: str, count: int) -> tuple[Any, ...]:
        self.refuse_beyond_end(count)
        form = f"<{count}{code}"
        values = struct.unpack_from(form, self.mapped, self.position)
        self.position += struct.calcsize(form)
        return values

    def string(self) -> str:
        length = self.number("Q")
        self.refuse_beyond_end(length)
        text = self.mapped[self.position : self.position + length]
        self.position += length
        return text.decode("utf-8")

    def value(self, kind: int) -> Any:
        """A metadata value. Raises: IndexError: its type is not known."""
        if kind in NUMBERS:
            return self.number(NUMBERS[kind])
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            raise IndexError(f"a value of type {kind}")
        kind, count = self.numbers("I", 1)[0], self.number("Q")
        self.refuse_beyond_end(count)
        if kind in NUMBERS:
            return self.numbers(NUMBERS[kind], count)
        return tuple(self.value(kind) for _ in range(count))

    def refuse_beyond_end(self, count: int) -> None:
        """Raises: IndexError: the rest of the file cannot hold so many values."""
        if count > len(self.mapped) - self.position:
            raise IndexError("it ends too early")


def _parsed(path: Path, cursor: _Cursor) -> GgufHeader:
    version = cursor.number("I")
    if version not in VERSIONS:
        raise DamagedArtefact(
            path,
            f"it is GGUF version {version}, and factd reads 2 and 3 in little endian; "
            "convert the model again",
        )
    tensors, values = cursor.numbers("Q", 2)
    metadata = {}
    for _ in range(values):
        key = cursor.string()
        metadata[key] = cursor.value(cursor.number("I"))
    table = [_row(path, cursor) for _ in range(tensors)]
    alignment = int(metadata.get("general.alignment", 32))
    start = -(-cursor.position // alignment) * alignment
    return GgufHeader(
        path=path,
        metadata=metadata,
        tensors=tuple(_entry(*row, data=start) for row in table),
    )


def _row(path: Path, cursor: _Cursor) -> tuple[str, tuple[int, ...], GGMLQuantizationType, int]:
    name = cursor.string()
    dimensions = cursor.number("I")
    if dimensions > MOST_DIMENSIONS:
        raise IndexError(f"a tensor of {dimensions} dimensions")
    shape = tuple(reversed(cursor.numbers("Q", dimensions)))
    number, offset = cursor.number("I"), cursor.number("Q")
    try:
        return name, shape, GGMLQuantizationType(number), offset
    except ValueError as error:
        raise NotEditable(
            f"{path}: the tensor {name} is stored as type {number}, which is not known; "
            "take a file with another quantisation, such as Q8_0 or F16"
        ) from error


def _entry(
    name: str, shape: tuple[int, ...], kind: GGMLQuantizationType, offset: int, *, data: int
) -> TensorEntry:
    values, size = GGML_QUANT_SIZES[kind]  # of a block
    return TensorEntry(
        name=name,
        shape=shape,
        kind=kind,
        start=data + offset,
        size=prod(shape) // values * size,
    )
