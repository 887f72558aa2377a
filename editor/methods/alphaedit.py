"""AlphaEdit: the update lives in the null space of old knowledge.

arXiv:2410.02355, equation 13: Δ = R Kᵀ P (K_p K_pᵀ P + K Kᵀ P + L I)⁻¹, where P projects onto the
eigenvectors of the second moment whose eigenvalue is below a threshold and K_p are the keys of
earlier edits. The released code keeps K_p in a global variable that grows with every call. Here the
ledger gives it: all active facts are solved at once from the base (`edit`), or the earlier edits of
a sequence are read again (`sequential`).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from factd.editor.closed_form import leverage, solve_square
from factd.editor.methods import Method
from factd.editor.methods._write import (
    WriteSettings,
    closed_form_method,
    require_above_zero,
    sequential_method,
)
from factd.editor.solving.chunks import gram_sums
from factd.editor.solving.layers import LayerSystem, LayerUpdate, Solver


@dataclass(frozen=True, kw_only=True)
class AlphaEditSettings(WriteSettings):
    """Settings of AlphaEdit.

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


Settings = AlphaEditSettings  # the plugin loader looks for this name


def null_space(second_moment: Tensor, threshold: float) -> Tensor:
    """P: the projector onto the eigenvectors of C with eigenvalues below the threshold.

    second_moment C and the result are (d_in, d_in) float64.
    """
    values, vectors = torch.linalg.eigh(second_moment)
    free = vectors[:, values < threshold]
    projector: Tensor = free @ free.T
    return projector


def solver(threshold: float, ridge: float) -> Solver:
    """Solves a layer by Δ = R Kᵀ P (K_p K_pᵀ P + K Kᵀ P + L I)⁻¹, arXiv:2410.02355, equation 13.

    Raises, when called: SingularSystem.
    """

    def solve(system: LayerSystem) -> LayerUpdate:
        project = null_space(system.second_moment, threshold)
        known = system.fixed_keys @ system.fixed_keys.T
        eye = ridge * torch.eye(len(project), dtype=project.dtype, device=project.device)
        sums = gram_sums(system.chunks)
        left = project @ (known + sums.gram) + eye
        update = solve_square(left, project @ sums.cross).T
        spent = leverage(system.chunks.whole()[0], known + eye)
        return LayerUpdate(update, float(spent.max()))

    return solve


def solver_of(settings: AlphaEditSettings) -> Solver:
    """The solver of one layer that these settings ask for."""
    return solver(settings.nullspace_threshold, settings.ridge)


edit = closed_form_method("alphaedit", solver_of)  # all at once: the history is the batch itself
sequential = sequential_method("alphaedit", solver_of)  # as published, with history=True
_: Method = edit
