"""From values to updates: the edited layers one after the other, each solved in closed form.

MEMIT, EMMET, AlphaEdit and ROME differ only in the solver that one layer is given; the loop is this file's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from editor.delta import Dense, Part
from editor.edits import Edit
from editor.keys import Reading, read_keys
from editor.model import EditableModel
from editor.moments import Moments
from editor.progress import Progress, silent
from editor.solve import leverage

Templates = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class System:
    """What one layer's update is computed from; all float64."""

    keys: Tensor  # (d_in, n), a column per row of the solve
    residuals: Tensor  # (d_out, n), what the layer's output at those keys must gain
    second_moment: Tensor  # (d_in, d_in), E[k kᵀ], without a weight
    still: Tensor  # (d_in, m), keys at which nothing may change (protected or written earlier); m may be 0


@dataclass(frozen=True)
class Solved:
    """One layer's update."""

    update: Tensor  # (d_out, d_in) float64
    gram: Tensor  # (d_in, d_in) float64, what is known of the old keys, for the leverage


Solver = Callable[[System], Solved]


@contextmanager
def put_back(weights: Sequence[Tensor]) -> Iterator[None]:
    """Every bit of the weights is as before on leaving."""
    saved = [weight.detach().clone() for weight in weights]
    try:
        yield
    finally:
        for weight, before in zip(weights, saved, strict=True):
            weight.data.copy_(before)


def readings(edits: Sequence[Edit], *, split: bool) -> tuple[list[Reading], list[int]]:
    """The rows of the solve, and the edit that each is of. split: two rows for an edit whose subject opens its prompt."""
    rows, owner = [], []
    for index, one in enumerate(edits):
        kinds = ("bare", "prefixed") if split and one.prompt.startswith("{}") else ("all",)
        rows += [
            Reading(prompt=one.prompt, subject=one.subject, language=one.language, templates=k)
            for k in kinds
        ]
        owner += [index] * len(kinds)
    return rows, owner


def targets_of(
    values: Tensor, stream: Tensor, rows: Sequence[Reading], owner: Sequence[int]
) -> Tensor:
    """Where every row is to end, (rows, d): the edit's z, moved by as much for a row that stands elsewhere.

    stream (rows, d): where the rows stand on the base weights.
    """
    first = {index: place for place, index in reversed(list(enumerate(owner)))}
    bare = torch.tensor([first[index] for index in owner], device=stream.device)
    moved = stream + (values[torch.tensor(owner, device=stream.device)] - stream[bare])
    plain = torch.tensor([row.templates != "prefixed" for row in rows], device=stream.device)
    return torch.where(plain[:, None], values[torch.tensor(owner, device=stream.device)], moved)


def solve_layers(
    model: EditableModel,
    edits: Sequence[Edit],
    values: Tensor,
    moments: Moments,
    templates: Templates,
    solver: Solver,
    *,
    split: bool = False,
    still: Sequence[Reading] = (),
    progress: Progress = silent,
) -> tuple[dict[str, Part], dict[str, float]]:
    """The closed form for each layer in rising order, the lower layers' updates being in place.

    values (edits, d). still: readings whose outputs may not change. Returns the parts and, per layer, the norms, the
    highest leverage and the error of z.
    """
    parts: dict[str, Part] = {}
    diagnostics: dict[str, float] = {}
    layers = sorted(moments.layers)
    z_layer = layers[-1]
    rows, owner = readings(edits, split=split)
    base = read_keys(model, rows, templates, layer=z_layer, z_layer=z_layer).stream
    targets = targets_of(values, base, rows, owner)
    with put_back([model.weight(layer) for layer in layers]):
        for number, layer in enumerate(layers):
            now = read_keys(model, rows, templates, layer=layer, z_layer=z_layer)
            wanted = (targets - now.stream) / (len(layers) - number)
            system = System(
                keys=now.keys.double().T,
                residuals=model.before_norm(layer, now.keys, wanted).double().T,
                second_moment=moments.layers[layer].to(model.device).double(),
                still=_still(model, still, templates, layer, z_layer),
            )
            solved = solver(system)
            weight = model.weight(layer)
            diagnostics |= _norms(layer, weight, solved, system.keys)
            weight.data.add_(solved.update.to(weight.dtype))
            parts[model.parameter(layer)] = stored(model, solved.update)
            progress("solve", number + 1, len(layers))
        reached = read_keys(model, rows, templates, layer=z_layer, z_layer=z_layer).stream
    error = (targets - reached).norm(dim=-1) / targets.norm(dim=-1)
    diagnostics |= {"z_error_mean": float(error.mean()), "z_error_max": float(error.max())}
    return parts, diagnostics


def _still(
    model: EditableModel, still: Sequence[Reading], templates: Templates, layer: int, z_layer: int
) -> Tensor:
    if not still:
        return torch.zeros(model.weight(layer).shape[1], 0, device=model.device).double()
    return read_keys(model, still, templates, layer=layer, z_layer=z_layer).keys.double().T


def _norms(layer: int, weight: Tensor, solved: Solved, keys: Tensor) -> dict[str, float]:
    base, edited = float(weight.norm()), float((weight.double() + solved.update).norm())
    return {
        f"layer.{layer}.weight_norm_ratio": edited / base,
        f"layer.{layer}.update_norm_ratio": float(solved.update.norm()) / base,
        f"layer.{layer}.leverage_max": float(leverage(keys, solved.gram).max()),
    }


def stored(model: EditableModel, update: Tensor) -> Part:
    """An update (d_out, d_in) in the layout of the checkpoint, float32."""
    matrix = update.float().cpu()
    return Dense((matrix.T if model.family.transposed else matrix).contiguous())
