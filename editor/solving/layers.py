"""From values to weight updates: the edited layers one after the other, each solved in closed form.

MEMIT, EMMET, AlphaEdit and ROME share this loop. They differ only in the solver of one layer.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from factd.editor.deltas.delta import Dense, Part
from factd.editor.edits import Edit
from factd.editor.errors import BadSettings
from factd.editor.models.model import EditableModel
from factd.editor.models.weights import weights_restored
from factd.editor.moments.moments import Moments
from factd.editor.progress import Progress, silent
from factd.editor.solving.chunks import (
    GIB,
    ChunkStore,
    GramSums,
    KeyChunks,
    MemoryBudget,
    memory_budget,
    minimum_bytes,
)
from factd.editor.solving.keys import KeyPrompt, Templates, read_keys
from factd.editor.solving.rows import RowReader, key_prompts


@dataclass(frozen=True, kw_only=True)
class LayerSystem:
    """What one layer's update is computed from; all tensors float64."""

    chunks: KeyChunks  # per row its key (d_in,) and residual (d_out,): what the output must gain
    second_moment: Tensor  # C = E[k kᵀ], (d_in, d_in), without a weight
    fixed_keys: Tensor  # (d_in, m), where the output may not change (protected or written earlier)
    factor: Tensor | None = None  # lower Cholesky factor of C, (d_in, d_in), if it is known
    before: GramSums | None = None  # sums of rows that were solved earlier

    @classmethod
    def of(
        cls, keys: Tensor, residuals: Tensor, second_moment: Tensor, fixed_keys: Tensor
    ) -> "LayerSystem":
        """A system from whole matrices: keys (d_in, n), residuals (d_out, n)."""
        chunks = KeyChunks.of(keys, residuals)
        return cls(chunks=chunks, second_moment=second_moment, fixed_keys=fixed_keys)


@dataclass(frozen=True)
class LayerUpdate:
    """The update of one layer."""

    update: Tensor  # Δ, (d_out, d_in) float64
    leverage: float  # highest kᵀ A⁻¹ k of an edit's key, from 0 (free) to 1 (used up by itself)
    sums: GramSums | None = None  # for a later solve to continue from, if the method has them


Solver = Callable[[LayerSystem], LayerUpdate]


@dataclass(frozen=True, kw_only=True)
class Solve:
    """Everything that the updates of all edited layers are computed from, besides the model.

    `earlier` has the sums of each layer. The keys and residuals behind them are not read again, so
    above the first layer they are those of the earlier solve, which is an approximation.
    """

    edits: Sequence[Edit]
    values: Tensor  # z, (edits, d) float32, for the output of the last layer (first if replayed)
    moments: Moments  # its layers are the ones that are edited
    templates: Templates
    solver: Solver  # of one layer
    replayed: bool = False  # each layer has a target of its own, by forward replay of the values
    split_openings: bool = False  # two rows for an edit whose subject opens its prompt
    fixed_prompts: Sequence[KeyPrompt] = ()  # prompts at whose keys the outputs may not change
    earlier: Mapping[int, GramSums] | None = None  # sums of a solve that these edits are added to
    memory_gib: float = 8.0  # bound for the solve of a layer
    unfinished: Path | None = None  # folder for a large solve's chunks, from which it can resume


@dataclass(frozen=True)
class Solution:
    """The updates of all layers."""

    parts: dict[str, Part]  # name of the weight in memory -> update
    diagnostics: dict[str, float]  # per layer norms and highest leverage; the error of z
    sums: dict[int, GramSums]  # per layer, for `Solve.earlier` of a later solve


def solve_layers(model: EditableModel, solve: Solve, *, progress: Progress = silent) -> Solution:
    """The closed form for each layer in rising order, each with the lower layers' updates in place.

    The model's weights are as before afterwards. A solve that stopped in `solve.unfinished`
    resumes: what it left there is not computed again, and the result has the same bytes.

    Raises: BadSettings: memory_gib is too small for one layer's matrices. BadEdit: a subject has no
    token. SingularSystem: a layer's system has no solution. DamagedArtefact: a file of a stopped
    solve is damaged.
    """
    layers = sorted(solve.moments.layers)
    rows, owner = key_prompts(solve.edits, split=solve.split_openings)
    budget = _budget(model, layers, len(rows), solve.memory_gib)
    store = ChunkStore(solve.unfinished if budget.on_disk else None)
    reader = RowReader(
        model,
        rows,
        owner,
        solve.values,
        solve.templates,
        layers,
        store,
        budget.chunk_rows,
        replayed=solve.replayed,
    )
    solution = Solution({}, {}, {})
    with weights_restored([model.weight(layer) for layer in layers]):
        for number, layer in enumerate(layers):
            _solve_layer(model, solve, layer, reader.chunks(layer), store, solution)
            reader.layer_done(layer)
            progress("solve", number + 1, len(layers))
        error = reader.errors()
    solution.diagnostics["z_error_mean"] = float(error.mean())
    solution.diagnostics["z_error_max"] = float(error.max())
    store.clear()
    return solution


def _solve_layer(
    model: EditableModel,
    solve: Solve,
    layer: int,
    read: Callable[[], KeyChunks],
    store: ChunkStore,
    solution: Solution,
) -> None:
    """Solve one layer, write its update into the model and add it to the solution."""
    weight, name = model.weight(layer), f"update-{layer}"
    if store.has(name):  # an interrupted solve left it
        left = store.get(name)
        solved = LayerUpdate(left["update"].to(model.device), float(left["leverage"]))
    else:
        solved = solve.solver(_system(model, solve, layer, read()))
        if store.folder is not None:
            leverage = torch.tensor(solved.leverage, dtype=torch.float64)
            store.put(name, {"update": solved.update, "leverage": leverage})
    solution.diagnostics.update(_norms(layer, weight, solved))
    if solved.sums is not None:
        solution.sums[layer] = solved.sums
    weight.data.copy_((weight.double() + solved.update).to(weight.dtype))
    solution.parts[model.parameter(layer)] = delta_part(model, solved.update)


def _system(model: EditableModel, solve: Solve, layer: int, chunks: KeyChunks) -> LayerSystem:
    few = chunks.count * 2 <= model.weight(layer).shape[1]
    return LayerSystem(
        chunks=chunks,
        second_moment=solve.moments.layers[layer].to(model.device).double(),
        fixed_keys=_fixed_keys(model, solve, layer),
        factor=solve.moments.factor(layer, model.device) if few else None,
        before=solve.earlier[layer] if solve.earlier else None,
    )


def _fixed_keys(model: EditableModel, solve: Solve, layer: int) -> Tensor:
    if not solve.fixed_prompts:
        return torch.zeros(model.weight(layer).shape[1], 0, device=model.device).double()
    z_layer = max(solve.moments.layers)
    read = read_keys(model, solve.fixed_prompts, solve.templates, layer=layer, z_layer=z_layer)
    return read.keys.double().T


def _budget(
    model: EditableModel, layers: Sequence[int], rows: int, memory_gib: float
) -> MemoryBudget:
    widest = max(layers, key=lambda layer: model.weight(layer).shape[1])
    d_out, d_in = model.weight(widest).shape
    budget = memory_budget(rows, d_in=d_in, d_out=d_out, memory_gib=memory_gib)
    if budget is None:
        raise BadSettings(
            f"solve_memory_gib = {memory_gib:g} is too small for matrices of {d_in} x {d_in}; "
            f"set it to at least {minimum_bytes(d_in, d_out) / GIB:.2g}"
        )
    return budget


def _norms(layer: int, weight: Tensor, solved: LayerUpdate) -> dict[str, float]:
    base, edited = float(weight.norm()), float((weight.double() + solved.update).norm())
    return {
        f"layer.{layer}.weight_norm_ratio": edited / base,
        f"layer.{layer}.update_norm_ratio": float(solved.update.norm()) / base,
        f"layer.{layer}.leverage_max": solved.leverage,
    }


def delta_part(model: EditableModel, update: Tensor) -> Part:
    """An update (d_out, d_in) as the part of a delta: float32, in the layout of the checkpoint."""
    matrix = update.float().cpu()
    return Dense((matrix.T if model.family.transposed else matrix).contiguous())
