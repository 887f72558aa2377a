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
from factd.editor.solving.replay import replayed_by_workers, replayed_streams


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
    """Reads the rows of a solve chunk by chunk, on the weights as they are at that moment.

    Each layer aims at a target behind some layer: behind itself with forward replay, else behind
    the last edited layer (`aim`).
    """

    model: EditableModel
    rows: Sequence[KeyPrompt]
    owner: Sequence[int]  # per row its edit
    values: Tensor  # (edits, d)
    templates: Templates
    layers: Sequence[int]
    store: ChunkStore
    chunk_rows: int
    replayed: bool = False  # the values are for the first layer, and are run forward from there

    def __post_init__(self) -> None:
        ends = [i for i in range(1, len(self.rows)) if self.owner[i] != self.owner[i - 1]]
        cuts = [0]  # a chunk ends where an edit's rows end
        for end in (*ends, len(self.rows)):
            if end - cuts[-1] >= self.chunk_rows or end == len(self.rows):
                cuts.append(end)
        self.spans = [slice(a, b) for a, b in pairwise(cuts) if b > a]
        self.texts = [texts_of(self.model, self.rows[span], self.templates) for span in self.spans]

    def aim(self, layer: int) -> int:
        """The layer behind which the target of an edited layer is."""
        return layer if self.replayed else self.layers[-1]

    def chunks(self, layer: int) -> Callable[[], KeyChunks]:
        """A function that reads a layer's keys and residuals.

        For the first layer the rows are read at once, because the targets depend on where they
        stand on the base weights.
        """
        names = tuple(f"layer-{layer}-{n}" for n in range(len(self.spans)))

        def read() -> KeyChunks:
            for n, name in enumerate(names):
                self._read(name, n, layer)
            return KeyChunks(self.store, names, len(self.rows), self.model.device)

        if layer == self.layers[0]:
            read()
        return read

    def _read(self, name: str, number: int, layer: int) -> None:
        """Keep a chunk of a layer; for the first layer its targets too."""
        first = layer == self.layers[0]
        if self.store.has(name) and (not first or self.store.has(f"targets-{number}")):
            return
        now = self._keys(number, layer)
        if first:
            targets = self._targets(number, now.stream)
            self.store.put(f"targets-{number}", {str(n): t for n, t in targets.items()})
        left = 1 if self.replayed else len(self.layers) - list(self.layers).index(layer)
        wanted = (self.targets(number, layer) - now.stream) / left
        residuals = self.model.before_norm(layer, now.keys, wanted)
        self.store.put(name, {"keys": now.keys, "residuals": residuals})

    def _targets(self, number: int, stream: Tensor) -> dict[int, Tensor]:
        """Where a chunk's rows are to end behind each layer that is aimed at, (rows, d) each.

        stream (rows, d): where they stand on the base weights, behind the values' layer.
        """
        span = self.spans[number]
        owner = [index - self.owner[span][0] for index in self.owner[span]]
        own = self.values[self.owner[span][0] : self.owner[span][-1] + 1]
        wanted = targets_of(own, stream, self.rows[span], owner)
        if not self.replayed:
            return {self.layers[-1]: wanted}
        targets = {self.layers[0]: wanted}
        if len(self.layers) > 1:
            streams = self._replayed(number, wanted - stream)
            targets |= {n: streams[:, i].contiguous() for i, n in enumerate(self.layers) if i}
        return targets

    def _replayed(self, number: int, moves: Tensor) -> Tensor:
        """`replayed_streams` of a chunk's rows, by workers if there are any."""
        if self.model.workers is None:
            return replayed_streams(self.model, self.texts[number], moves, self.layers)
        rows = self.rows[self.spans[number]]
        return replayed_by_workers(self.model, rows, moves, self.templates, self.layers)

    def targets(self, number: int, layer: int) -> Tensor:
        """Where the rows of a chunk are to end, behind the layer that `layer` aims at, (rows, d).

        Raises: DamagedArtefact: the chunk's file is damaged.
        """
        return self.store.get(f"targets-{number}")[str(self.aim(layer))].to(self.model.device)

    def layer_done(self, layer: int) -> None:
        """Drop the chunks of a solved layer.

        The first layer's files stay for a solve that stops and resumes.
        """
        for n in range(len(self.spans)):
            if layer != self.layers[0] or self.store.folder is None:
                self.store.drop(f"layer-{layer}-{n}")

    def errors(self) -> Tensor:
        """How far each row now is from its target behind the last layer, (rows,), in its norm."""
        last = self.layers[-1]
        errors = []
        for n, (span, texts) in enumerate(zip(self.spans, self.texts, strict=True)):
            reached = read_stream(self.model, texts, span.stop - span.start, z_layer=last)
            targets = self.targets(n, last)
            errors.append((targets - reached).norm(dim=-1) / targets.norm(dim=-1))
        return torch.cat(errors)

    def _keys(self, number: int, layer: int) -> Keys:
        """Keys of a chunk at a layer, and the stream behind the layer that it aims at."""
        model, rows, z_layer = self.model, self.rows[self.spans[number]], self.aim(layer)
        if model.workers is None:
            texts = self.texts[number]
            return read_texts(model, texts, len(rows), layer=layer, z_layer=z_layer)
        results = run_task(
            model,
            keys_of_rows,
            rows,
            templates=self.templates,
            layer=layer,
            z_layer=z_layer,
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
