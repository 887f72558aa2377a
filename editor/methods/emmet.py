"""EMMET: mass editing under an equality constraint.

Edits hold exactly, and old keys move as little as that allows.

arXiv:2403.14236, equation 9: Δ = R (Kᵀ C⁻¹ K)⁻¹ Kᵀ C⁻¹. It is the limit of MEMIT for a
second-moment weight of 0, and ROME for one edit. Edits with nearly the same key (two wordings of a
fact) make Kᵀ C⁻¹ K singular. Therefore `slack` is added to its diagonal, as the released code adds
a multiple of the identity. It is also the strength that a sweep varies.
"""

from dataclasses import dataclass

import torch

from factd.editor.closed_form import inverse_times, leverage, solve_square
from factd.editor.methods import Method
from factd.editor.methods._write import WriteSettings, closed_form_method, require_above_zero
from factd.editor.solving.layers import LayerSystem, LayerUpdate, Solver


@dataclass(frozen=True, kw_only=True)
class EmmetSettings(WriteSettings):
    """Settings of EMMET.

    Raises: BadSettings: a number out of range.
    """

    slack: float = 0.01
    """Added to the diagonal, as a multiple of its mean; the strength that is searched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_above_zero("slack", self.slack)


Settings = EmmetSettings  # the plugin loader looks for this name


def solver(slack: float) -> Solver:
    """Solves a layer by Δ = R (Kᵀ C⁻¹ K + s I)⁻¹ Kᵀ C⁻¹, arXiv:2403.14236, equation 9 with slack.

    s is slack times the mean of the diagonal of Kᵀ C⁻¹ K. Raises, when called: SingularSystem.
    """

    def solve(system: LayerSystem) -> LayerUpdate:
        keys, residuals = system.chunks.whole()
        whitened = inverse_times(system.second_moment, keys)  # C⁻¹ K (d_in, n)
        middle = keys.T @ whitened
        eye = torch.eye(len(middle), dtype=middle.dtype, device=middle.device)
        middle = middle + slack * middle.diagonal().mean() * eye
        spent = leverage(keys, system.second_moment)
        return LayerUpdate(residuals @ solve_square(middle, whitened.T), float(spent.max()))

    return solve


edit = closed_form_method("emmet", lambda settings: solver(settings.slack))
_: Method = edit
