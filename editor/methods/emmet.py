"""EMMET: mass editing under an equality constraint: the edits hold exactly, old keys move as little as that allows.

arXiv:2403.14236, equation 9: Δ = R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹. It is the limit of MEMIT for a second-moment weight of 0, and ROME
for one edit. Edits with nearly the same key (two wordings of a fact) make Kᵀ C⁻¹ K singular: `slack` is
added to its diagonal, as the released code adds a multiple of the identity; it is also the strength that is swept.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from editor.delta import Delta
from editor.edits import EditBatch
from editor.layers import Solved, Solver, System
from editor.methods import Method
from editor.model import EditableModel
from editor.progress import Progress, silent
from editor.solve import inverse_times, solve_square
from editor.writing import WriteSettings, require_above_zero, write


@dataclass(frozen=True, kw_only=True)
class Settings(WriteSettings):
    """EMMET's own.

    Raises: BadSettings: a number out of range.
    """

    slack: float = 0.01  # added to the diagonal, times its mean

    def __post_init__(self) -> None:
        super().__post_init__()
        require_above_zero("slack", self.slack)


def solver(slack: float) -> Solver:
    """Δ = R (Kᵀ C⁻¹ K + slack)⁻¹ Kᵀ C⁻¹."""

    def solve(system: System) -> Solved:
        whitened = inverse_times(system.second_moment, system.keys)  # C⁻¹ K (d_in, n)
        middle = system.keys.T @ whitened
        eye = torch.eye(len(middle), dtype=middle.dtype, device=middle.device)
        middle = middle + slack * middle.diagonal().mean() * eye
        return Solved(system.residuals @ solve_square(middle, whitened.T), system.second_moment)

    return solve


def edit(
    model: EditableModel,
    batch: EditBatch,
    *,
    settings: Settings,
    workspace: Path,
    progress: Progress = silent,
) -> Delta:
    """The update that writes the whole batch into the base weights.

    Raises: BadEdit, BadSettings (a layer the model has not), DamagedArtefact, SingularSystem.
    """
    return write(
        model,
        batch,
        method="emmet",
        solver=solver(settings.slack),
        settings=settings,
        workspace=workspace,
        progress=progress,
    )


_: Method = edit
