"""What a part of a delta is made of: its rank, its nearest of a smaller rank, and what a pair of factors loses of it."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from factd.editor.deltas.delta import Delta, Dense, LowRank, Part

EPSILON = 2.0**-23  # float32's spacing: singular values below this share of the largest are noise


@dataclass(frozen=True)
class SingularFactors:
    """ΔW = u diag(s) vᵀ in the stored layout, float64, without what is rounding; s descends."""

    u: Tensor  # (rows, rank)
    s: Tensor  # (rank,)
    v: Tensor  # (columns, rank)

    @property
    def rank(self) -> int:
        """The numerical rank."""
        return len(self.s)

    def truncated(self, rank: int) -> "SingularFactors":
        """The nearest of a smaller rank (Eckart and Young)."""
        return SingularFactors(self.u[:, :rank], self.s[:rank], self.v[:, :rank])

    def balanced(self) -> tuple[Tensor, Tensor]:
        """u √s (rows, rank) and v √s (columns, rank): a small dtype loses least where neither is larger than the other."""
        root = self.s.sqrt()
        return self.u * root, self.v * root


def singular_factors(part: Part) -> SingularFactors:
    """What a part of a delta is made of. Of factors by QR and the singular values of the small core."""
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
    """‖ΔW − left rightᵀ‖ / ‖ΔW‖ (Frobenius, float64) of a part and the factors (rows, r), (columns, r) that stand for it."""
    left, right = left.double(), right.double()
    if isinstance(part, Dense):
        values = part.values.double()
        gap, whole = torch.linalg.norm(values - left @ right.T), torch.linalg.norm(values)
    else:
        own = part.left.double(), part.right.double()
        gap = _norm(torch.cat([own[0], -left], 1), torch.cat([own[1], right], 1))
        whole = _norm(*own)
    return float(gap / whole) if whole else float(gap)


def _norm(left: Tensor, right: Tensor) -> Tensor:
    """‖left rightᵀ‖ without the matrix."""
    cores = [torch.linalg.qr(factor, mode="r").R for factor in (left, right)]
    found: Tensor = torch.linalg.norm(cores[0] @ cores[1].T)
    return found


def truncate(delta: Delta, rank: int) -> Delta | None:
    """The nearest delta whose matrices have at most some rank, float32; None: those of the delta have no higher one.

    It is another delta, with an id of its own, and must be measured as any other before it is served.
    """
    spectra = {
        name: singular_factors(part) for name, part in delta.parts.items() if is_matrix(part)
    }
    cut = {
        name: found.truncated(rank).balanced()
        for name, found in spectra.items()
        if found.rank > rank
    }
    if not cut:
        return None
    parts: dict[str, Part] = dict(delta.parts)
    for name, factors in cut.items():
        left, right = (factor.float().contiguous() for factor in factors)
        parts[name] = LowRank(left, right)
    whole = max(found.rank for found in spectra.values())
    about = {"of": delta.id, "rank": whole, "to": rank}
    return replace(delta, parts=parts, settings={**delta.settings, "truncated": about})


def is_matrix(part: Part) -> bool:
    """Not a bias."""
    return isinstance(part, LowRank) or part.values.dim() == 2
