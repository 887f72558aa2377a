"""The rows of a solve: their prompts, their targets, and their keys and residuals."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.models.model import EditableModel
from factd.editor.models.weights import weights_restored
from factd.editor.models.workers import in_order, run_task
from factd.editor.solving.chunks import ChunkStore, KeyChunks
from factd.editor.solving.keys import (
    KeyPrompt,
    Keys,
    Templates,
    read_keys,
    read_stream,
    read_texts,
    texts_of,
)


def key_prompts(edits: Sequence[Edit], *, split: bool) -> tuple[list[KeyPrompt], list[int]]:
    """The rows of a solve, and for each row the number of its edit.

    split: an edit whose subject opens its prompt gets two rows, one for the bare prompt and one for
    the prompts behind prefixes, because the subject's tokens differ there.
    """
    rows, owner = [], []
    for number, edit in enumerate(edits):
        kinds = ("bare", "prefixed") if split and edit.prompt.startswith("{}") else ("all",)
        rows += [
            KeyPrompt(
                prompt=edit.prompt, subject=edit.subject, language=edit.language, templates=kind
            )
            for kind in kinds
        ]
        owner += [number] * len(kinds)
    return rows, owner


def targets_of(
    values: Tensor, stream: Tensor, rows: Sequence[KeyPrompt], owner: Sequence[int]
) -> Tensor:
    """Where the stream of every row is to end, (rows, d).

    That is its edit's value z. For a prefixed row, which stands elsewhere, it is the row's own
    stream moved by as much as the edit's bare row is moved.

    values (edits, d); stream (rows, d): where the rows stand on the base weights; owner: each row's
    edit.
    """
    on = stream.device
    first = {index: place for place, index in reversed(list(enumerate(owner)))}
    bare = torch.tensor([first[index] for index in owner], device=on)
    wanted = values[torch.tensor(owner, device=on)]
    moved = stream + (wanted - stream[bare])
    plain = torch.tensor([row.templates != "prefixed" for row in rows], device=on)
    return torch.where(plain[:, None], wanted, moved)


@dataclass
class RowReader:
    """Reads the rows of a solve chunk by chunk, on the weights as they are at that moment."""

    model: EditableModel
    rows: Sequence[KeyPrompt]
    owner: Sequence[int]  # per row its edit
    values: Tensor  # (edits, d)
    templates: Templates
    layers: Sequence[int]
    store: ChunkStore
    chunk_rows: int

    def __post_init__(self) -> None:
        self.z_layer = self.layers[-1]
        self.targets = torch.zeros(len(self.rows), self.values.shape[1], device=self.values.device)
        ends = [i for i in range(1, len(self.rows)) if self.owner[i] != self.owner[i - 1]]
        cuts = [0]  # a chunk ends where an edit's rows end
        for end in (*ends, len(self.rows)):
            if end - cuts[-1] >= self.chunk_rows or end == len(self.rows):
                cuts.append(end)
        self.spans = [slice(a, b) for a, b in pairwise(cuts) if b > a]
        self.texts = [texts_of(self.model, self.rows[span], self.templates) for span in self.spans]

    def chunks(self, layer: int, *, first: bool, left: int) -> Callable[[], KeyChunks]:
        """A function that reads a layer's keys and residuals.

        left: how many layers, this one included, share the way to the targets. For the first layer
        the rows are read at once, because the targets depend on where they stand on the base
        weights.
        """
        names = tuple(f"layer-{layer}-{n}" for n in range(len(self.spans)))

        def read() -> KeyChunks:
            for n, name in enumerate(names):
                self._read(name, n, layer, first=first, left=left)
            return KeyChunks(self.store, names, len(self.rows), self.model.device)

        if first:
            read()
        return read

    def _read(self, name: str, number: int, layer: int, *, first: bool, left: int) -> None:
        span = self.spans[number]
        if self.store.has(name):
            if first:
                self.targets[span] = self.store.get(name)["targets"].to(self.targets.device)
            return
        now = self._keys(number, layer)
        if first:
            owner = [index - self.owner[span][0] for index in self.owner[span]]
            own = self.values[self.owner[span][0] : self.owner[span][-1] + 1]
            self.targets[span] = targets_of(own, now.stream, self.rows[span], owner)
        wanted = (self.targets[span] - now.stream) / left
        residuals = self.model.before_norm(layer, now.keys, wanted)
        tensors = {"keys": now.keys, "residuals": residuals}
        if first:
            tensors["targets"] = self.targets[span].clone()
        self.store.put(name, tensors)

    def layer_done(self, layer: int, *, first: bool) -> None:
        """Drop the chunks of a solved layer. The first layer's files hold the targets and stay."""
        for n in range(len(self.spans)):
            if not first or self.store.folder is None:
                self.store.drop(f"layer-{layer}-{n}")

    def stream(self) -> Tensor:
        """Where the rows stand now after the z layer, (rows, d)."""
        streams = [
            read_stream(self.model, texts, span.stop - span.start, z_layer=self.z_layer)
            for span, texts in zip(self.spans, self.texts, strict=True)
        ]
        return torch.cat(streams)

    def _keys(self, number: int, layer: int) -> Keys:
        model, rows = self.model, self.rows[self.spans[number]]
        if model.workers is None:
            texts = self.texts[number]
            return read_texts(model, texts, len(rows), layer=layer, z_layer=self.z_layer)
        results = run_task(
            model,
            keys_of_rows,
            rows,
            templates=self.templates,
            layer=layer,
            z_layer=self.z_layer,
            edited={n: model.weight(n).detach().cpu() for n in self.layers},
        )
        pairs = in_order(results, len(rows))
        keys, stream = (torch.stack(part).to(model.device) for part in zip(*pairs, strict=True))
        return Keys(keys, stream)


def keys_of_rows(
    model: EditableModel,
    rows: Sequence[KeyPrompt],
    *,
    templates: Templates,
    layer: int,
    z_layer: int,
    edited: Mapping[int, Tensor],
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """`read_keys` as a task for workers: (number, (key (d_in,), stream (d,))) of every row.

    edited: the weights (d_out, d_in) of the edited layers, which a worker's own model does not
    have.
    """
    with weights_restored([model.weight(number) for number in edited]):
        for number, weight in edited.items():
            model.weight(number).data.copy_(weight)
        read = read_keys(model, rows, templates, layer=layer, z_layer=z_layer)
    yield from enumerate(zip(read.keys.cpu(), read.stream.cpu(), strict=True))
