"""From values to updates: the edited layers one after the other, each solved in closed form.

MEMIT, EMMET, AlphaEdit and ROME differ only in the solver that one layer is given; the loop is this file's.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from factd.editor.deltas.delta import Dense, Part
from factd.editor.edits import Edit
from factd.editor.errors import BadSettings
from factd.editor.models.model import EditableModel
from factd.editor.models.workers import done, in_order
from factd.editor.moments.moments import Moments
from factd.editor.progress import Progress, silent
from factd.editor.solving.chunks import GIB, Columns, Pieces, Room, Sums, least_bytes, room_for
from factd.editor.solving.keys import Keys, Reading, read_keys, read_stream, read_texts, texts_of

Templates = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class System:
    """What one layer's update is computed from; all float64."""

    columns: Columns  # per row of the solve its key (d_in,) and what the layer's output must gain there (d_out,)
    second_moment: Tensor  # (d_in, d_in), E[k kᵀ], without a weight
    still: Tensor  # (d_in, m), keys at which nothing may change (protected or written earlier); m may be 0
    factor: Tensor | None = (
        None  # (d_in, d_in) lower Cholesky factor of the second moment, where it is known
    )
    before: Sums | None = None  # of rows that were solved earlier

    @classmethod
    def of(cls, keys: Tensor, residuals: Tensor, second_moment: Tensor, still: Tensor) -> "System":
        """From whole matrices, keys (d_in, n), residuals (d_out, n)."""
        return cls(columns=Columns.of(keys, residuals), second_moment=second_moment, still=still)


@dataclass(frozen=True)
class Solved:
    """One layer's update."""

    update: Tensor  # (d_out, d_in) float64
    leverage: float  # highest kᵀ A⁻¹ k of an edit's key, from 0 (free) to 1 (used up by itself)
    sums: Sums | None = None  # what a later solve may go on from, where the method knows them


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


@dataclass(frozen=True)
class Solution:
    """The updates of all layers."""

    parts: dict[str, Part]
    diagnostics: dict[str, float]  # per layer the norms and the highest leverage; the error of z
    sums: dict[int, Sums]  # per layer, what `earlier` of a later solve may be


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
    earlier: Mapping[int, Sums] | None = None,
    memory_gib: float = 8.0,
    unfinished: Path | None = None,
    progress: Progress = silent,
) -> Solution:
    """The closed form for each layer in rising order, the lower layers' updates being in place.

    values (edits, d). still: readings whose outputs may not change. earlier: sums of a solve that these edits are added to,
    whose keys and residuals are not read again (above the first layer they are those of that solve: an approximation).
    unfinished: a folder for the pieces of a large solve; what an interrupted one left there is not computed again.

    Raises: BadSettings: memory_gib is too small for one layer's matrices.
    """
    parts: dict[str, Part] = {}
    diagnostics: dict[str, float] = {}
    sums: dict[int, Sums] = {}
    layers = sorted(moments.layers)
    rows, owner = readings(edits, split=split)
    room = _room(model, layers, len(rows), memory_gib)
    pieces = Pieces(unfinished if room.on_disk else None)
    reader = _Reader(model, rows, owner, values, templates, layers, pieces, room.piece)
    with put_back([model.weight(layer) for layer in layers]):
        for number, layer in enumerate(layers):
            weight = model.weight(layer)
            columns = reader.columns(layer, first=number == 0, left=len(layers) - number)

            def system(layer: int = layer, columns: Callable[[], Columns] = columns) -> System:
                few = len(rows) * 2 <= model.weight(layer).shape[1]
                return System(
                    columns=columns(),
                    second_moment=moments.layers[layer].to(model.device).double(),
                    still=_still(model, still, templates, layer, layers[-1]),
                    factor=moments.factor(layer, model.device) if few else None,
                    before=earlier[layer] if earlier else None,
                )

            solved = _taken_up(pieces, f"update-{layer}", lambda: solver(system()), model.device)
            diagnostics |= _norms(layer, weight, solved)
            if solved.sums is not None:
                sums[layer] = solved.sums
            weight.data.copy_((weight.double() + solved.update).to(weight.dtype))
            parts[model.parameter(layer)] = stored(model, solved.update)
            reader.done(layer, first=number == 0)
            progress("solve", number + 1, len(layers))
        reached = reader.reached()
    targets = reader.targets
    error = (targets - reached).norm(dim=-1) / targets.norm(dim=-1)
    diagnostics |= {"z_error_mean": float(error.mean()), "z_error_max": float(error.max())}
    pieces.forget()
    return Solution(parts, diagnostics, sums)


def _taken_up(
    pieces: Pieces, name: str, solve: Callable[[], Solved], device: torch.device
) -> Solved:
    """A layer's update: the one that an interrupted solve left, else a new one, which is left for the next."""
    if pieces.has(name):
        kept = pieces.get(name)
        return Solved(kept["update"].to(device), float(kept["leverage"]))
    solved = solve()
    if pieces.folder is not None:
        leverage = torch.tensor(solved.leverage, dtype=torch.float64)
        pieces.put(name, {"update": solved.update, "leverage": leverage})
    return solved


def _room(model: EditableModel, layers: Sequence[int], rows: int, memory_gib: float) -> Room:
    widest = max(layers, key=lambda layer: model.weight(layer).shape[1])
    d_out, d_in = model.weight(widest).shape
    found = room_for(rows, d_in=d_in, d_out=d_out, memory_gib=memory_gib)
    if found is None:
        raise BadSettings(
            f"solve_memory_gib = {memory_gib:g} is too small for matrices of {d_in} x {d_in}; "
            f"set it to at least {least_bytes(d_in, d_out) / GIB:.2g}"
        )
    return found


@dataclass
class _Reader:
    """The rows of a solve, read piece by piece with the weights as they are when they are asked for."""

    model: EditableModel
    rows: Sequence[Reading]
    owner: Sequence[int]
    values: Tensor
    templates: Templates
    layers: Sequence[int]
    pieces: Pieces
    size: int

    def __post_init__(self) -> None:
        self.z_layer = self.layers[-1]
        self.targets = torch.zeros(len(self.rows), self.values.shape[1], device=self.values.device)
        ends = [i for i in range(1, len(self.rows)) if self.owner[i] != self.owner[i - 1]]
        cuts = [0]  # a piece ends where an edit's rows end
        for end in (*ends, len(self.rows)):
            if end - cuts[-1] >= self.size or end == len(self.rows):
                cuts.append(end)
        self.spans = [slice(a, b) for a, b in pairwise(cuts) if b > a]
        self.texts = [texts_of(self.model, self.rows[span], self.templates) for span in self.spans]

    def columns(self, layer: int, *, first: bool, left: int) -> Callable[[], Columns]:
        """What reads a layer's keys and residuals, `left` layers sharing the way to the targets.

        The targets are set where the rows stand on the base weights, when the first layer is read.
        """
        names = [f"layer-{layer}-{n}" for n in range(len(self.spans))]
        if first:
            for n in range(len(self.spans)):
                self._read(names[n], n, layer, first=True, left=left)

        def read() -> Columns:
            for n in range(len(self.spans)):
                self._read(names[n], n, layer, first=first, left=left)
            return Columns(self.pieces, tuple(names), len(self.rows), self.model.device)

        return read

    def _read(self, name: str, number: int, layer: int, *, first: bool, left: int) -> None:
        span = self.spans[number]
        if self.pieces.has(name):
            if first:
                self.targets[span] = self.pieces.get(name)["targets"].to(self.targets.device)
            return
        now = self._keys(number, layer)
        if first:
            owner = [index - self.owner[span][0] for index in self.owner[span]]
            own = self.values[self.owner[span][0] : self.owner[span][-1] + 1]
            self.targets[span] = targets_of(own, now.stream, self.rows[span], owner)
        wanted = (self.targets[span] - now.stream) / left
        residuals = self.model.before_norm(layer, now.keys, wanted)
        held = {"keys": now.keys, "residuals": residuals}
        self.pieces.put(name, held | {"targets": self.targets[span].clone()} if first else held)

    def done(self, layer: int, *, first: bool) -> None:
        """Forget what a solved layer was read from; the first layer's files hold the targets and stay until the end."""
        for n in range(len(self.spans)):
            if not first or self.pieces.folder is None:
                self.pieces.drop(f"layer-{layer}-{n}")

    def reached(self) -> Tensor:
        """Where the rows stand now, (rows, d)."""
        found = [
            read_stream(self.model, texts, span.stop - span.start, z_layer=self.z_layer)
            for span, texts in zip(self.spans, self.texts, strict=True)
        ]
        return torch.cat(found)

    def _keys(self, number: int, layer: int) -> Keys:
        model, span = self.model, self.spans[number]
        rows = self.rows[span]
        if model.workers is None:
            texts = self.texts[number]
            return read_texts(model, texts, len(rows), layer=layer, z_layer=self.z_layer)
        weights = {n: model.weight(n).detach().cpu() for n in self.layers}
        results = done(
            model,
            keys_of_rows,
            rows,
            templates=self.templates,
            layer=layer,
            z_layer=self.z_layer,
            edited=weights,
        )
        pairs = in_order(results, len(rows))
        keys, stream = (torch.stack(part).to(model.device) for part in zip(*pairs, strict=True))
        return Keys(keys, stream)


def keys_of_rows(
    model: EditableModel,
    rows: Sequence[Reading],
    *,
    templates: Templates,
    layer: int,
    z_layer: int,
    edited: Mapping[int, Tensor],
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """The task of `read_keys`: (number, (key, stream)) of every row, with some layers' weights (d_out, d_in) as given."""
    with put_back([model.weight(number) for number in edited]):
        for number, weight in edited.items():
            model.weight(number).data.copy_(weight)
        found = read_keys(model, rows, templates, layer=layer, z_layer=z_layer)
    yield from enumerate(zip(found.keys.cpu(), found.stream.cpu(), strict=True))


def _still(
    model: EditableModel, still: Sequence[Reading], templates: Templates, layer: int, z_layer: int
) -> Tensor:
    if not still:
        return torch.zeros(model.weight(layer).shape[1], 0, device=model.device).double()
    return read_keys(model, still, templates, layer=layer, z_layer=z_layer).keys.double().T


def _norms(layer: int, weight: Tensor, solved: Solved) -> dict[str, float]:
    base, edited = float(weight.norm()), float((weight.double() + solved.update).norm())
    return {
        f"layer.{layer}.weight_norm_ratio": edited / base,
        f"layer.{layer}.update_norm_ratio": float(solved.update.norm()) / base,
        f"layer.{layer}.leverage_max": solved.leverage,
    }


def stored(model: EditableModel, update: Tensor) -> Part:
    """An update (d_out, d_in) in the layout of the checkpoint, float32."""
    matrix = update.float().cpu()
    return Dense((matrix.T if model.family.transposed else matrix).contiguous())
