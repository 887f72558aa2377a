"""Keys and residuals of one layer's solve, piece by piece: in memory, or in files where there are many."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from factd.editor.files.folders import verify_folder, write_folder

GIB = 1 << 30
PIECE = 1024  # rows of the solve in a piece, at most
LEAST_PIECE = 64
RESUMED = 4096  # from so many rows on, pieces are files, so that an interrupted solve goes on


@dataclass(frozen=True)
class Room:
    """How many rows a piece has, and whether pieces are files, for a bound on memory."""

    piece: int
    on_disk: bool


def least_bytes(d_in: int, d_out: int) -> int:
    """What the matrices of one layer need, and the smallest piece.

    Three float64 matrices (d_in, d_in) (second moment, Gram, factor) and two (d_in, d_out) (cross product, update) are held
    at once.
    """
    return 8 * (3 * d_in * d_in + 2 * d_in * d_out) + LEAST_PIECE * row_bytes(d_in, d_out)


def row_bytes(d_in: int, d_out: int) -> int:
    """What a row of a piece needs, in float32 and float64 with its products."""
    return 24 * (d_in + d_out)


def room_for(rows: int, *, d_in: int, d_out: int, memory_gib: float) -> Room | None:
    """The room of a solve; None: not even the matrices fit."""
    each = row_bytes(d_in, d_out)
    left = int(memory_gib * GIB) - least_bytes(d_in, d_out) + LEAST_PIECE * each
    if left < LEAST_PIECE * each:
        return None
    held = rows * 4 * (d_in + d_out)
    return Room(
        min(PIECE, left // (2 * each)),
        rows >= RESUMED or held > left // 2,
    )


@dataclass
class Pieces:
    """Named pieces of a computation: dictionaries of tensors, in memory or as verified folders."""

    folder: Path | None = None  # None: in memory
    held: dict[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def has(self, name: str) -> bool:
        """It was put here, now or before an interruption."""
        return name in self.held or (self.folder is not None and (self.folder / name).exists())

    def put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Keep a piece."""
        if self.folder is None:
            self.held[name] = tensors
            return
        kept = {key: tensor.cpu().contiguous() for key, tensor in tensors.items()}
        write_folder(
            self.folder / name, lambda part: save_file(kept, part / "piece.safetensors"), {}
        )

    def get(self, name: str) -> Mapping[str, Tensor]:
        """A piece. Raises: DamagedArtefact: its file is not what its manifest says."""
        if self.folder is None:
            return self.held[name]
        verify_folder(self.folder / name)
        return load_file(self.folder / name / "piece.safetensors")

    def drop(self, name: str) -> None:
        """Forget a piece."""
        self.held.pop(name, None)
        if self.folder is not None and (self.folder / name).exists():
            for file in (self.folder / name).iterdir():
                file.unlink()
            (self.folder / name).rmdir()

    def forget(self) -> None:
        """Forget all of them."""
        self.held.clear()
        if self.folder is not None and self.folder.exists():
            for one in list(self.folder.iterdir()):
                self.drop(one.name)
            self.folder.rmdir()


@dataclass(frozen=True)
class Columns:
    """Keys (d_in, n) and residuals (d_out, n) in float64, in pieces of some columns each."""

    pieces: Pieces
    names: tuple[str, ...]
    count: int  # n
    device: torch.device

    @classmethod
    def of(cls, keys: Tensor, residuals: Tensor) -> "Columns":
        """One piece of all columns, keys (d_in, n), residuals (d_out, n)."""
        pieces = Pieces()
        pieces.put("all", {"keys": keys.T, "residuals": residuals.T})
        return cls(pieces, ("all",), keys.shape[1], keys.device)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for name in self.names:
            piece = self.pieces.get(name)
            yield (
                piece["keys"].to(self.device).double().T,
                piece["residuals"].to(self.device).double().T,
            )

    def whole(self) -> tuple[Tensor, Tensor]:
        """All keys and residuals at once."""
        keys, residuals = zip(*self, strict=True)
        return torch.cat(keys, 1), torch.cat(residuals, 1)


@dataclass(frozen=True)
class Sums:
    """What a solve needs of its rows: Σ k kᵀ (d_in, d_in) and Σ k rᵀ (d_in, d_out), float64."""

    gram: Tensor
    cross: Tensor


def summed(columns: Columns, before: Sums | None = None) -> Sums:
    """The sums over all pieces, on top of those of earlier rows."""
    gram = cross = None
    if before is not None:
        gram, cross = before.gram.clone(), before.cross.clone()
    for keys, residuals in columns:
        if gram is None or cross is None:
            gram, cross = keys @ keys.T, keys @ residuals.T
        else:
            gram.addmm_(keys, keys.T)
            cross.addmm_(keys, residuals.T)
    assert gram is not None and cross is not None
    return Sums(gram, cross)
