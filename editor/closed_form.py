"""The closed form: the smallest update that moves the keys by the residuals while old keys stay."""

import torch
from torch import Tensor

from factd.editor.errors import SingularSystem


def solve_update(keys: Tensor, residuals: Tensor, second_moment: Tensor) -> Tensor:
    """Δ = R Kᵀ (C + K Kᵀ)⁻¹, (d_out, d_in) float64: MEMIT, arXiv:2210.07229, equation 14.

    keys (d_in, n), residuals (d_out, n), second_moment (d_in, d_in) already times its weight, all float64.
    Cholesky of d_in x d_in, not an inverse.

    Raises: SingularSystem: C + K Kᵀ has no Cholesky factor, or a number is not finite.
    """
    if not torch.isfinite(residuals).all():
        raise SingularSystem("a residual is not finite; are the weights finite?")
    return inverse_times(second_moment + keys @ keys.T, keys @ residuals.T).T


def inverse_times(matrix: Tensor, columns: Tensor) -> Tensor:
    """A⁻¹ B for a symmetric positive definite A (d, d) and B (d, n), by Cholesky.

    Raises: SingularSystem: A has no Cholesky factor.
    """
    found: Tensor = torch.cholesky_solve(columns, cholesky(matrix))
    return found


def cholesky(matrix: Tensor) -> Tensor:
    """The lower factor L of a symmetric positive definite A = L Lᵀ, (d, d). Raises: SingularSystem: there is none."""
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise SingularSystem(
            "the second moment and the keys give no solvable system; are the weights finite, "
            "and is the sample larger than d_in?"
        )
    return factor


def solve_square(matrix: Tensor, columns: Tensor) -> Tensor:
    """A⁻¹ B for any square A (d, d) and B (d, n), by LU.

    Raises: SingularSystem: A is singular.
    """
    found: Tensor
    found, failed = torch.linalg.solve_ex(matrix, columns)
    if failed or not torch.isfinite(found).all():
        raise SingularSystem("the keys give no solvable system; raise the ridge or the slack")
    return found


def woodbury(keys: Tensor, residuals: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """The update of `solve_update` and the leverage of every key, from the factor L (d_in, d_in) of C = L Lᵀ.

    Δ = R (I + Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹ (Woodbury): an n x n system instead of a d_in x d_in one, for few edits.
    """
    if not torch.isfinite(residuals).all():
        raise SingularSystem("a residual is not finite; are the weights finite?")
    whitened = torch.cholesky_solve(keys, factor)  # C⁻¹ K
    inner = keys.T @ whitened
    eye = torch.eye(len(inner), dtype=inner.dtype, device=inner.device)
    inverse = inverse_times(eye + inner, eye)
    return residuals @ inverse @ whitened.T, 1 - inverse.diagonal()


def leverage(keys: Tensor, second_moment: Tensor) -> Tensor:
    """kᵀ (C + K Kᵀ)⁻¹ k per edit, (n,), from 0 (free) to 1 (the key is used up by itself): the capacity spent."""
    factor = torch.linalg.cholesky(second_moment + keys @ keys.T)
    whitened = torch.linalg.solve_triangular(factor, keys, upper=False)
    found: Tensor = whitened.pow(2).sum(0)
    return found
