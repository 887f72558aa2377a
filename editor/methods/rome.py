"""ROME: rank-one edits of a single layer, one edit after the other, with consistent keys.

arXiv:2202.05262, equation 2: Δ = (v* - W k) (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k). The released code reads k behind
its templates for C⁻¹ k, but from the bare prompt for W k. With the mean key in both places
(arXiv:2403.07175) many edits in a row no longer make the model collapse. Each later edit starts
from where the earlier ones left the weights, in the order of the batch. That is the order of the
edits' keys, so that the same set still gives the same bytes.
"""

from dataclasses import dataclass

import torch

from factd.editor.closed_form import inverse_times, leverage
from factd.editor.errors import BadSettings
from factd.editor.methods import Method
from factd.editor.methods._write import WriteSettings, closed_form_method, require_above_zero
from factd.editor.solving.layers import LayerSystem, LayerUpdate, Solver


@dataclass(frozen=True, kw_only=True)
class RomeSettings(WriteSettings):
    """Settings of ROME, which edits one layer.

    Raises: BadSettings: several layers, or a number out of range.
    """

    share: float = 1.0
    """How far an edit goes towards its value; the strength that is searched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) != 1:
            raise BadSettings(f"rome edits one layer, not {list(self.layers)}; set layers=[N]")
        require_above_zero("share", self.share)


Settings = RomeSettings  # the plugin loader looks for this name


def solve(system: LayerSystem) -> LayerUpdate:
    """The sum of the edits' rank-one updates, (d_out, d_in) float64.

    Each is computed on top of those before it: arXiv:2202.05262, equation 2. Raises:
    SingularSystem: the second moment has no Cholesky factor.
    """
    keys, residuals = system.chunks.whole()
    whitened = inverse_times(system.second_moment, keys)  # C⁻¹ K (d_in, n)
    update = torch.zeros(len(residuals), len(keys), dtype=keys.dtype, device=keys.device)
    for key, residual, direction in zip(keys.T, residuals.T, whitened.T, strict=True):
        update += torch.outer(residual - update @ key, direction / (direction @ key))
    return LayerUpdate(update, float(leverage(keys, system.second_moment).max()))


def solver(share: float) -> Solver:
    """Solves a layer by ROME's updates, times the share of the way that the edits go."""

    def part_of_the_way(system: LayerSystem) -> LayerUpdate:
        whole = solve(system)
        return LayerUpdate(whole.update * share, whole.leverage)

    return part_of_the_way


edit = closed_form_method("rome", lambda settings: solver(settings.share))
_: Method = edit
