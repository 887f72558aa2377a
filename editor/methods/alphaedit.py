"""AlphaEdit: the update lives in the null space of old knowledge.

arXiv:2410.02355, equation 13: Δ = R Kᵀ P (K_p K_pᵀ P + K Kᵀ P + L I)⁻¹, where P projects onto the eigenvectors of the
second moment whose eigenvalue is below a threshold and K_p are the keys of earlier edits. The released code keeps K_p in a
global that grows with every call; here the ledger gives it: all active facts are solved at once from the base (`edit`), or
the earlier edits of a sequence are read again (`sequential`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from factd.editor.closed_form import leverage, solve_square
from factd.editor.methods import Method
from factd.editor.methods._write import WriteSettings, in_sequence, method, require_above_zero
from factd.editor.solving.chunks import summed
from factd.editor.solving.layers import Solved, Solver, System


@dataclass(frozen=True, kw_only=True)
class Settings(WriteSettings):
    """AlphaEdit's own.

    Raises: BadSettings: a number out of range.
    """

    nullspace_threshold: float = 0.02
    """Directions in which the second moment has a smaller eigenvalue may change."""
    ridge: float = 10.0
    """Ridge added in the solve (L in the paper); the strength that is searched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_above_zero("nullspace_threshold", self.nullspace_threshold)
        require_above_zero("ridge", self.ridge)


def null_space(second_moment: Tensor, threshold: float) -> Tensor:
    """P (d_in, d_in): the projector onto the eigenvectors of the second moment with eigenvalues below the threshold."""
    values, vectors = torch.linalg.eigh(second_moment)
    free = vectors[:, values < threshold]
    found: Tensor = free @ free.T
    return found


def solver(threshold: float, ridge: float) -> Solver:
    """Δ = R Kᵀ P (K_p K_pᵀ P + K Kᵀ P + L I)⁻¹."""

    def solve(system: System) -> Solved:
        project = null_space(system.second_moment, threshold)
        known = system.still @ system.still.T
        eye = ridge * torch.eye(len(project), dtype=project.dtype, device=project.device)
        sums = summed(system.columns)
        left = project @ (known + sums.gram) + eye
        update = solve_square(left, project @ sums.cross).T
        spent = leverage(system.columns.whole()[0], known + eye)
        return Solved(update, float(spent.max()))

    return solve


def solver_of(settings: Settings) -> Solver:
    """The solver of some settings."""
    return solver(settings.nullspace_threshold, settings.ridge)


edit = method("alphaedit", solver_of)  # all at once: the history is the batch itself
sequential = in_sequence("alphaedit", solver_of)  # as published, with history=True
_: Method = edit
