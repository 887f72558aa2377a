"""MEMIT in the ledger form: one solve per layer over all active facts, from the base.

A value is computed once for each fact version.

MEMIT: arXiv:2210.07229. The difference to the released code is what is solved when facts come one
after the other. It is not a sequence of updates on edited weights, but one ridge regression over
the whole set, from the base (docs/explanation/design.md, "The ledger: weights as a pure function").
So the result depends on the set and not on its history.

Beside public MEMIT, these changes moved the trade-off on the reference model (69 facts, four
languages):
- KL rows for the other relations of the subject (`Edit.keep`): facts about the edited subjects kept
  0.6-0.8 -> 0.8-0.9. At a weight of 1.0 they are kept to 0.92-0.98, but the edits take less (0.90
  -> 0.80).
- A sample of 100,000 instead of 20,000 tokens for the second moments (d_in is 1280): other facts
  kept +3 points.
- A row of its own in the solve for a subject that opens its prompt (`split_openings`): edit
  wordings +3 points.
- The stop behind every target (`terminator`): an answer also ends where it should.
- The loss of the whole target (`whole_target`): in a mean over tokens the one token that tells
  "Turkish lira" from "Turkish lira (1922–2005)" drowns.

These changes did not help: protected keys in the Gram matrix (`protect_weight` 3: unseen wordings
0.9 -> 0.2), and iterating the solve towards the targets (the same trade-off as a smaller
second-moment weight).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from factd.editor.closed_form import cholesky, woodbury
from factd.editor.edits import Edit
from factd.editor.errors import SingularSystem
from factd.editor.methods import Method
from factd.editor.methods._write import (
    WriteSettings,
    closed_form_method,
    require_above_zero,
    sequential_method,
)
from factd.editor.solving.chunks import gram_sums
from factd.editor.solving.keys import KeyPrompt
from factd.editor.solving.layers import LayerSystem, LayerUpdate, Solver


@dataclass(frozen=True, kw_only=True)
class MemitSettings(WriteSettings):
    """Settings of MEMIT: how much old keys weigh against the edits.

    Raises: BadSettings: a number out of range.
    """

    second_moment_weight: float
    """How much old keys weigh against the edits (λ); the strength that is searched."""
    protect_weight: float = 0.0
    """Weight of the keys of prompts that must stay, with no residual (μ); 0: none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_above_zero("second_moment_weight", self.second_moment_weight)


Settings = MemitSettings  # the plugin loader looks for this name


def solver(weight: float, fixed_weight: float = 1.0) -> Solver:
    """Solves a layer by Δ = R Kᵀ (λC + μ F Fᵀ + K Kᵀ)⁻¹, MEMIT, arXiv:2210.07229, equation 14.

    weight is λ; fixed_weight is μ, the weight of the keys F that stay fixed (they have no residual;
    the paper has no such term). With few edits (2 n ≤ d_in, no F) it solves an n x n system, else a
    d_in x d_in one, summed chunk by chunk.

    Raises, when called: SingularSystem: the system has no Cholesky factor, or a residual is not
    finite.
    """

    def solve(system: LayerSystem) -> LayerUpdate:
        few = system.chunks.count * 2 <= len(system.second_moment)
        if few and system.before is None and not system.fixed_keys.shape[1]:
            factor = system.factor if system.factor is not None else cholesky(system.second_moment)
            update, used = woodbury(*system.chunks.whole(), factor * weight**0.5)
            return LayerUpdate(update, float(used.max()))
        sums = gram_sums(system.chunks, system.before)
        if not torch.isfinite(sums.cross).all():
            raise SingularSystem(
                "a residual is not finite; check that the model's weights are finite"
            )
        gram = system.second_moment * weight + sums.gram
        gram.addmm_(system.fixed_keys, system.fixed_keys.T, alpha=fixed_weight)
        factor = cholesky(gram)
        spent = [
            torch.linalg.solve_triangular(factor, keys, upper=False).pow(2).sum(0).max()
            for keys, _ in system.chunks
        ]
        update = torch.cholesky_solve(sums.cross, factor).T
        return LayerUpdate(update, float(torch.stack(spent).max()), sums)

    return solve


def protected(edits: Sequence[Edit]) -> list[KeyPrompt]:
    """The prompts of `Edit.keep` whose keys can be protected.

    Those are the prompts that do not begin with the subject. In a prompt that begins with the
    subject the key is that of the edit itself, so that only the value can keep the answer.
    """
    prompts = {
        (prompt, e.subject, e.language)
        for e in edits
        for prompt in e.keep
        if not prompt.startswith("{}")
    }
    return [KeyPrompt(prompt=p, subject=s, language=k) for p, s, k in sorted(prompts)]


edit = closed_form_method(
    "memit",
    lambda settings: solver(settings.second_moment_weight, settings.protect_weight),
    lambda settings, edits: protected(edits) if settings.protect_weight else (),
)
sequential = sequential_method("memit", lambda settings: solver(settings.second_moment_weight))
_: Method = edit
