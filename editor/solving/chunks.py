"""Keys and residuals of one layer's solve in chunks of rows, in memory or in files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from factd.editor.files.folders import verify_folder, write_folder

GIB = 1 << 30
CHUNK_ROWS = 1024  # rows of a solve in one chunk, at most
MINIMUM_CHUNK_ROWS = 64
ON_DISK_ROWS = 4096  # from so many rows on chunks are files, so that a stopped solve can resume


@dataclass(frozen=True)
class MemoryBudget:
    """How the rows of a solve are cut so that the solve stays within a bound on memory."""

    chunk_rows: int
    on_disk: bool  # chunks are files


def minimum_bytes(d_in: int, d_out: int) -> int:
    """Bytes that the matrices of one layer and the smallest chunk need.

    Three float64 matrices (d_in, d_in) (second moment, Gram, factor) and two (d_in, d_out) (cross
    product, update) are in memory at once.
    """
    return 8 * (3 * d_in * d_in + 2 * d_in * d_out) + MINIMUM_CHUNK_ROWS * row_bytes(d_in, d_out)


def row_bytes(d_in: int, d_out: int) -> int:
    """Bytes that one row of a chunk needs, in float32 and float64 with its products."""
    return 24 * (d_in + d_out)


def memory_budget(rows: int, *, d_in: int, d_out: int, memory_gib: float) -> MemoryBudget | None:
    """How to cut the rows of a solve; None if not even the matrices fit into memory_gib."""
    each = row_bytes(d_in, d_out)
    left = int(memory_gib * GIB) - minimum_bytes(d_in, d_out) + MINIMUM_CHUNK_ROWS * each
    if left < MINIMUM_CHUNK_ROWS * each:
        return None
    all_rows = rows * 4 * (d_in + d_out)
    return MemoryBudget(
        chunk_rows=min(CHUNK_ROWS, left // (2 * each)),
        on_disk=rows >= ON_DISK_ROWS or all_rows > left // 2,
    )


@dataclass
class ChunkStore:
    """Named chunks of a computation: dictionaries of tensors, in memory or as verified folders."""

    folder: Path | None = None  # None: in memory
    in_memory: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """Whether the chunk exists, stored now or before an interruption."""
        return name in self.in_memory or (self.folder is not None and (self.folder / name).exists())

    def put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Store a chunk under a name."""
        if self.folder is None:
            self.in_memory[name] = tensors
            return
        on_cpu = {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}
        write_folder(
            self.folder / name, lambda part: save_file(on_cpu, part / "piece.safetensors"), {}
        )

    def get(self, name: str) -> Mapping[str, Tensor]:
        """A chunk by its name. Raises: DamagedArtefact: its file differs from its manifest."""
        if self.folder is None:
            return self.in_memory[name]
        verify_folder(self.folder / name)
        return load_file(self.folder / name / "piece.safetensors")

    def drop(self, name: str) -> None:
        """Delete a chunk; nothing happens if there is none of that name."""
        self.in_memory.pop(name, None)
        if self.folder is not None and (self.folder / name).exists():
            for file in (self.folder / name).iterdir():
                file.unlink()
            (self.folder / name).rmdir()

    def clear(self) -> None:
        """Delete all chunks and their folder."""
        self.in_memory.clear()
        if self.folder is not None and self.folder.exists():
            for path in list(self.folder.iterdir()):
                self.drop(path.name)
            self.folder.rmdir()


@dataclass(frozen=True)
class KeyChunks:
    """Keys (d_in, n) and residuals (d_out, n) of one layer in chunks of some columns each.

    Iterating gives (keys, residuals) of one chunk after the other, float64, on `device`.
    """

    store: ChunkStore
    names: tuple[str, ...]
    count: int  # n
    device: torch.device

    @classmethod
    def of(cls, keys: Tensor, residuals: Tensor) -> "KeyChunks":
        """All columns as one chunk: keys (d_in, n), residuals (d_out, n)."""
        store = ChunkStore()
        store.put("all", {"keys": keys.T, "residuals": residuals.T})
        return cls(store, ("all",), keys.shape[1], keys.device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for name in self.names:
            chunk = self.store.get(name)
            yield (
                chunk["keys"].to(self.device).double().T,
                chunk["residuals"].to(self.device).double().T,
            )

    def whole(self) -> tuple[Tensor, Tensor]:
        """All keys (d_in, n) and residuals (d_out, n) at once, float64."""
        keys, residuals = zip(*self, strict=True)
        return torch.cat(keys, 1), torch.cat(residuals, 1)


@dataclass(frozen=True)
class GramSums:
    """The sums over rows that a solve needs: the Gram matrix and the cross product, float64."""

    gram: Tensor  # Σ k kᵀ, (d_in, d_in)
    cross: Tensor  # Σ k rᵀ, (d_in, d_out)


def gram_sums(chunks: KeyChunks, before: GramSums | None = None) -> GramSums:
    """The sums over all chunks, on top of the sums `before` of earlier rows."""
    gram = cross = None
    if before is not None:
        gram, cross = before.gram.clone(), before.cross.clone()
    for keys, residuals in chunks:
        if gram is None or cross is None:
            gram, cross = keys @ keys.T, keys @ residuals.T
        else:
            gram.addmm_(keys, keys.T)
            cross.addmm_(keys, residuals.T)
    assert gram is not None and cross is not None
    return GramSums(gram, cross)
