"""EMMET: mass editing under an equality constraint: the edits hold exactly, old keys move as little as that allows.

arXiv:2403.14236, equation 9: Δ = R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹. It is the limit of MEMIT for a second-moment weight of 0, and ROME
for one edit. Edits with nearly the same key (two wordings of a fact) make Kᵀ C⁻¹ K singular: `slack` is
added to its diagonal, as the released code adds a multiple of the identity; it is also the strength that is swept.
"""

from dataclasses import dataclass

import torch

from factd.editor.closed_form import inverse_times, leverage, solve_square
from factd.editor.methods import Method
from factd.editor.methods._write import WriteSettings, method, require_above_zero
from factd.editor.solving.layers import Solved, Solver, System


@dataclass(frozen=True, kw_only=True)
class Settings(WriteSettings):
    """EMMET's own.

    Raises: BadSettings: a number out of range.
    """

    slack: float = 0.01
    """Added to the diagonal, as a multiple of its mean; the strength that is searched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_above_zero("slack", self.slack)


def solver(slack: float) -> Solver:
    """Δ = R (Kᵀ C⁻¹ K + slack)⁻¹ Kᵀ C⁻¹."""

    def solve(system: System) -> Solved:
        keys, residuals = system.columns.whole()
        whitened = inverse_times(system.second_moment, keys)  # C⁻¹ K (d_in, n)
        middle = keys.T @ whitened
        eye = torch.eye(len(middle), dtype=middle.dtype, device=middle.device)
        middle = middle + slack * middle.diagonal().mean() * eye
        spent = leverage(keys, system.second_moment)
        return Solved(residuals @ solve_square(middle, whitened.T), float(spent.max()))

    return solve


edit = method("emmet", lambda settings: solver(settings.slack))
_: Method = edit
