"""The rows of several δs as tensors of one shape: what lanes run, with everything that δ cannot change already run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from factd.editor.families._kv_cache import KvCache, KvRecorder
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import padded
from factd.editor.values.problem import Slot

PAST_STEP, LENGTH_STEP = 16, 2  # shapes are rounded up, so that there are few


@dataclass(frozen=True, order=True)
class Shape:
    """How much room one δ needs, rounded up; those of one shape share a lane."""

    rows: int
    length: int  # tokens that are run at every step
    past: int  # tokens before them, at most
    kept: int


def shape_of(slot: Slot, *, suffix_only: bool) -> Shape:
    """The shape of a δ's rows."""
    begins = [row.subject if suffix_only else 0 for row in slot.rows]
    return Shape(
        rows=len(slot.rows),
        length=up(
            max(len(r.read) - b for r, b in zip(slot.rows, begins, strict=True)), LENGTH_STEP
        ),
        past=up(max(begins), PAST_STEP),
        kept=len(slot.kept),
    )


def up(number: int, step: int) -> int:
    """The next multiple of a step."""
    return -(-number // step) * step


Answer = tuple[int, int, float]  # position in rows * length of its place, token, share of the loss


@dataclass(frozen=True)
class Asked:
    """Where logits are taken: for the answers, then for what is kept, filled up with positions that nobody reads."""

    place: Tensor  # (answers,) whose answer it is
    token: Tensor  # (answers,)
    share: Tensor  # (answers,)
    at: Tensor  # (n,) positions in places * rows * length


@dataclass
class Panel:
    """Rows of one shape for a number of δs; row r belongs to the place r // shape.rows."""

    shape: Shape
    suffix_only: bool
    ids: Tensor  # (rows, past + length) of whole texts
    subject: Tensor  # (rows,) where δ is added, in the whole text
    stream: Tensor  # (rows, length, d) float32 after the z layer
    past: KvCache | None
    kept: Tensor  # (places, kept) positions in rows * length of their place
    weight: Tensor  # (places, kept)
    answers: list[list[Answer]]  # per place

    @property
    def places(self) -> int:
        """How many δs there is room for."""
        return len(self.answers)

    def per_place(self) -> Iterator[Tensor]:
        """Every tensor, with a first dimension that is a multiple of the places."""
        yield from (self.ids, self.subject, self.stream, self.kept, self.weight)
        if self.past is not None:
            yield from (*self.past.keys.values(), *self.past.values.values(), self.past.lengths)

    def take(self, places: Sequence[int], other: "Panel", others: Sequence[int]) -> None:
        """Put another panel's δs into places."""
        for own, given in zip(self.per_place(), other.per_place(), strict=True):
            per = len(own) // self.places
            found = given.view(other.places, per, *own.shape[1:])[list(others)]
            own.view(self.places, per, *own.shape[1:])[list(places)] = found
        for place, number in zip(places, others, strict=True):
            self.answers[place] = other.answers[number]
        if self.past is not None:
            self.past.computed.clear()

    def of(self, places: list[int]) -> "Panel":
        """A copy with some places only."""
        rows = torch.arange(len(self.ids), device=self.ids.device).view(self.places, -1)[places]
        rows = rows.flatten()
        return replace(
            self,
            ids=self.ids[rows],
            subject=self.subject[rows],
            stream=self.stream[rows],
            past=None if self.past is None else self.past.of_rows(rows),
            kept=self.kept[places],
            weight=self.weight[places],
            answers=[self.answers[place] for place in places],
        )

    def asked(self, block: int) -> Asked:
        """Where logits are taken, in a multiple of `block` positions."""
        size, on = self.shape.rows * self.shape.length, self.stream.device
        rows = [(n, n * size + at, t, s) for n, own in enumerate(self.answers) for at, t, s in own]
        place, at, token, share = list(zip(*rows, strict=True)) or ((), (), (), ())
        first = torch.arange(self.places, device=on)[:, None] * size
        wanted = torch.cat([torch.tensor(at, device=on).long(), (self.kept + first).flatten()])
        filled = torch.zeros(up(len(wanted), block), dtype=torch.long, device=on)
        filled[: len(wanted)] = wanted
        return Asked(
            place=torch.tensor(place, device=on).long(),
            token=torch.tensor(token, device=on).long(),
            share=torch.tensor(share, device=on).float(),
            at=filled,
        )


@torch.no_grad()
def make_panel(
    model: EditableModel,
    slots: Sequence[Slot],
    shape: Shape,
    places: int,
    z_layer: int,
    *,
    suffix_only: bool,
) -> Panel:
    """A panel with some δs, its other places empty; everything that δ cannot change is run."""
    on, total = model.device, shape.past + shape.length
    rows = [row for slot in slots for row in slot.rows]
    empty = places * shape.rows - len(rows)
    ids = padded([*(row.read for row in rows), *[(0,)] * empty], on, longest=total)
    subject = torch.tensor([*(row.subject for row in rows), *[0] * empty], device=on)
    stream = model.run(model.embed(ids), 0, z_layer + 1)
    begin = subject if suffix_only else torch.zeros_like(subject)
    past = None
    if shape.past and z_layer + 1 < len(model.blocks):
        recording = KvRecorder()
        model.run(stream[:, : shape.past], z_layer + 1, len(model.blocks), recording)
        past = recording.cache(begin)
    at = (begin[:, None] + torch.arange(shape.length, device=on)).clamp_max(total - 1)
    taken = stream.gather(1, at[:, :, None].expand(-1, -1, stream.shape[2])).float()
    kept = [_kept(slot, shape, suffix_only) for slot in slots]
    kept += [[(0, 0.0)] * shape.kept] * (places - len(slots))
    return Panel(
        shape=shape,
        suffix_only=suffix_only,
        ids=ids,
        subject=subject,
        stream=taken,
        past=past,
        kept=torch.tensor([[at for at, _ in row] for row in kept], device=on, dtype=torch.long),
        weight=torch.tensor([[weight for _, weight in row] for row in kept], device=on),
        answers=[
            *(_answers(slot, shape, suffix_only) for slot in slots),
            *([] for _ in range(places - len(slots))),
        ],
    )


def _answers(slot: Slot, shape: Shape, suffix_only: bool) -> list[Answer]:
    return [
        (_within(slot, shape, row, at, suffix_only), token, share)
        for row, at, token, share in slot.answers
    ]


def _kept(slot: Slot, shape: Shape, suffix_only: bool) -> list[tuple[int, float]]:
    return [(_within(slot, shape, row, at, suffix_only), weight) for row, at, weight in slot.kept]


def _within(slot: Slot, shape: Shape, row: int, at: int, suffix_only: bool) -> int:
    """A position of a row's text, counted in the tokens of its place that are run."""
    return row * shape.length + at - (slot.rows[row].subject if suffix_only else 0)
