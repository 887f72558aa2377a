"""ROME: rank-one edits of a single layer, one edit after the other, with consistent keys.

arXiv:2202.05262, equation 2: Δ = (v* - W k) (C⁻¹ k)ᵀ / (kᵀ C⁻¹ k). The released code reads k behind its templates for C⁻¹ k but
from the bare prompt for W k; with the mean key in both places (arXiv:2403.07175) many edits in a row no longer make the
model collapse. Each later edit starts from where the earlier ones left the weights, in the order of the batch (which is that of
the edits' keys, so that the same set still gives the same bytes).
"""

from dataclasses import dataclass

import torch

from factd.editor.closed_form import inverse_times, leverage
from factd.editor.errors import BadSettings
from factd.editor.methods import Method
from factd.editor.methods._write import WriteSettings, method, require_above_zero
from factd.editor.solving.layers import Solved, Solver, System


@dataclass(frozen=True, kw_only=True)
class Settings(WriteSettings):
    """ROME's own: one layer.

    Raises: BadSettings: several layers, or a number out of range.
    """

    share: float = 1.0
    """How far an edit goes towards its value; the strength that is searched."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.layers) != 1:
            raise BadSettings(f"rome edits one layer, not {list(self.layers)}; set layers=[N]")
        require_above_zero("share", self.share)


def solve(system: System) -> Solved:
    """The rank-one updates of the columns, each on top of those before, (d_out, d_in)."""
    keys, residuals = system.columns.whole()
    whitened = inverse_times(system.second_moment, keys)  # C⁻¹ K (d_in, n)
    update = torch.zeros(len(residuals), len(keys), dtype=keys.dtype, device=keys.device)
    for key, residual, direction in zip(keys.T, residuals.T, whitened.T, strict=True):
        update += torch.outer(residual - update @ key, direction / (direction @ key))
    return Solved(update, float(leverage(keys, system.second_moment).max()))


def solver(share: float) -> Solver:
    """ROME's updates, the edits going a share of the way."""

    def part_of_the_way(system: System) -> Solved:
        found = solve(system)
        return Solved(found.update * share, found.leverage)

    return part_of_the_way


edit = method("rome", lambda settings: solver(settings.share))
_: Method = edit
