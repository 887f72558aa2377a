"""Truncates a delta: the nearest delta of a smaller rank, and the error of doing so.

The nearest matrix of a rank is the truncated singular value decomposition (Eckart and Young).
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from factd.editor.deltas.delta import Delta, Dense, LowRank, Part

EPSILON = 2.0**-23  # spacing of float32: smaller shares of the largest singular value are noise


@dataclass(frozen=True)
class SingularFactors:
    """ΔW = u diag(s) vᵀ in the stored layout, float64.

    s descends. Singular values that are rounding noise are left out.
    """

    u: Tensor  # (rows, rank)
    s: Tensor  # (rank,)
    v: Tensor  # (columns, rank)

    @property
    def rank(self) -> int:
        """The numerical rank."""
        return len(self.s)

    def truncated(self, rank: int) -> "SingularFactors":
        """The factors of the nearest matrix of at most this rank (Eckart and Young)."""
        return SingularFactors(self.u[:, :rank], self.s[:rank], self.v[:, :rank])

    def balanced(self) -> tuple[Tensor, Tensor]:
        """Two factors of equal size: u √s (rows, rank) and v √s (columns, rank).

        Rounding to a small dtype loses least if neither factor is larger than the other.
        """
        root = self.s.sqrt()
        return self.u * root, self.v * root


def singular_factors(part: Part) -> SingularFactors:
    """The singular value decomposition of a part.

    For low-rank factors it is computed from their QR decompositions and the small core.
    """
    if isinstance(part, Dense):
        u, s, vh = torch.linalg.svd(part.values.double(), full_matrices=False)
        v = vh.T
    else:
        (left, core), (right, other) = (
            torch.linalg.qr(factor.double()) for factor in (part.left, part.right)
        )
        u, s, vh = torch.linalg.svd(core @ other.T, full_matrices=False)
        u, v = left @ u, right @ vh.T
    return SingularFactors(u, s, v).truncated(
        int((s > EPSILON * s.max()).sum()) if s.numel() else 0
    )


def relative_error(part: Part, left: Tensor, right: Tensor) -> float:
    """‖ΔW − left rightᵀ‖ / ‖ΔW‖ (Frobenius, float64), of a part and the factors that replace it.

    left (rows, r), right (columns, r). If the part is zero the numerator is returned.
    """
    left, right = left.double(), right.double()
    if isinstance(part, Dense):
        values = part.values.double()
        error, size = torch.linalg.norm(values - left @ right.T), torch.linalg.norm(values)
    else:
        own = part.left.double(), part.right.double()
        error = _norm(torch.cat([own[0], -left], 1), torch.cat([own[1], right], 1))
        size = _norm(*own)
    return float(error / size) if size else float(error)


def _norm(left: Tensor, right: Tensor) -> Tensor:
    """‖left rightᵀ‖, computed without forming the matrix."""
    cores = [torch.linalg.qr(factor, mode="r").R for factor in (left, right)]
    norm: Tensor = torch.linalg.norm(cores[0] @ cores[1].T)
    return norm


def truncate(delta: Delta, rank: int) -> Delta | None:
    """The nearest delta whose matrices have at most this rank, float32.

    None if no matrix of the delta has a higher rank. The result is another delta with its own id,
    and must be measured like any other before it is served.
    """
    matrices = {name: part for name, part in delta.parts.items() if is_matrix(part)}
    factors = {name: singular_factors(part) for name, part in matrices.items()}
    cut = {n: own.truncated(rank).balanced() for n, own in factors.items() if own.rank > rank}
    if not cut:
        return None
    parts: dict[str, Part] = dict(delta.parts)
    for name, pair in cut.items():
        left, right = (factor.float().contiguous() for factor in pair)
        parts[name] = LowRank(left, right)
    full_rank = max(own.rank for own in factors.values())
    about = {"of": delta.id, "rank": full_rank, "to": rank}
    return replace(delta, parts=parts, settings={**delta.settings, "truncated": about})


def is_matrix(part: Part) -> bool:
    """Whether a part changes a matrix; otherwise it changes a bias."""
    return isinstance(part, LowRank) or part.values.dim() == 2
