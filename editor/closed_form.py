"""The closed form: the smallest update that moves keys by residuals while old keys stay."""

import torch
from torch import Tensor

from factd.editor.errors import SingularSystem


def solve_update(keys: Tensor, residuals: Tensor, second_moment: Tensor) -> Tensor:
    """The update Δ = R Kᵀ (C + K Kᵀ)⁻¹, (d_out, d_in): MEMIT, arXiv:2210.07229, equation 14.

    keys K (d_in, n), residuals R (d_out, n), second_moment C (d_in, d_in) already times its weight,
    all float64. It solves by Cholesky of a d_in x d_in matrix, not by inverting.

    Raises: SingularSystem: C + K Kᵀ has no Cholesky factor, or a residual is not finite.
    """
    if not torch.isfinite(residuals).all():
        raise SingularSystem("a residual is not finite; check that the model's weights are finite")
    return inverse_times(second_moment + keys @ keys.T, keys @ residuals.T).T


def inverse_times(matrix: Tensor, columns: Tensor) -> Tensor:
    """A⁻¹ B (d, n) for a symmetric positive definite A (d, d) and B (d, n), by Cholesky.

    Raises: SingularSystem: A has no Cholesky factor.
    """
    solution: Tensor = torch.cholesky_solve(columns, cholesky(matrix))
    return solution


def cholesky(matrix: Tensor) -> Tensor:
    """The lower factor L of a symmetric positive definite A = L Lᵀ, (d, d).

    Raises: SingularSystem: A has no Cholesky factor.
    """
    factor: Tensor
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if failed:
        raise SingularSystem(
            "the second moment and the keys give no solvable system; check that the weights are "
            "finite, and take a sample of more than d_in tokens (second_moment_tokens)"
        )
    return factor


def solve_square(matrix: Tensor, columns: Tensor) -> Tensor:
    """A⁻¹ B (d, n) for any square A (d, d) and B (d, n), by LU.

    Raises: SingularSystem: A is singular.
    """
    solution: Tensor
    solution, failed = torch.linalg.solve_ex(matrix, columns)
    if failed or not torch.isfinite(solution).all():
        raise SingularSystem("the keys give no solvable system; raise the ridge or the slack")
    return solution


def woodbury(keys: Tensor, residuals: Tensor, factor: Tensor) -> tuple[Tensor, Tensor]:
    """The update of `solve_update`, (d_out, d_in), and the leverage of every key, (n,); float64.

    Δ = R (I + Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹ (Woodbury), an n x n system instead of a d_in x d_in one, for few
    edits. keys K (d_in, n), residuals R (d_out, n), factor L (d_in, d_in) of C = L Lᵀ, with C
    already times its weight.

    Raises: SingularSystem: a residual is not finite, or I + Kᵀ C⁻¹ K has no Cholesky factor.
    """
    if not torch.isfinite(residuals).all():
        raise SingularSystem("a residual is not finite; check that the model's weights are finite")
    whitened = torch.cholesky_solve(keys, factor)  # C⁻¹ K
    inner = keys.T @ whitened
    eye = torch.eye(len(inner), dtype=inner.dtype, device=inner.device)
    inverse = inverse_times(eye + inner, eye)
    return residuals @ inverse @ whitened.T, 1 - inverse.diagonal()


def leverage(keys: Tensor, second_moment: Tensor) -> Tensor:
    """The capacity that each edit spends, kᵀ (C + K Kᵀ)⁻¹ k, (n,) float64, from 0 (free) to 1.

    At 1 the key is used up by its own edit. keys K (d_in, n), second_moment C (d_in, d_in) already
    times its weight, both float64.

    Raises: torch.linalg.LinAlgError: C + K Kᵀ has no Cholesky factor.
    """
    factor = torch.linalg.cholesky(second_moment + keys @ keys.T)
    whitened = torch.linalg.solve_triangular(factor, keys, upper=False)
    spent: Tensor = whitened.pow(2).sum(0)
    return spent
