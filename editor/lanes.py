"""Target values of many facts at once, in lanes of one fixed shape that are refilled as facts converge.

The arithmetic is that of editor/values.py; what is saved is everything that δ cannot change (EDITING §4, items 1 to 6): the
blocks up to the z layer, the tokens before the subject's last one (their keys and values are kept), and logits that nobody asks
for. A lane always runs the same number of rows of the same length, whether its places are taken or not: the
kernels then do the same for a fact whatever stands beside it, and its value has the same bits.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from editor.errors import SingularSystem
from editor.model import EditableModel
from editor.past import Past, Recording
from editor.tokens import padded
from editor.value_rows import Slot, ValueSettings

CPU_TOKENS, GPU_TOKENS = 288, 8192  # run at once, where a matrix product is at its best
PAST_STEP, LENGTH_STEP = 8, 2  # shapes are rounded up, so that there are few


@dataclass(frozen=True, kw_only=True)
class Economy:
    """What is saved. Nothing of it changes a value by more than rounding; benchmarks switch it off to see its share."""

    tokens: int | None = None  # run at once; None: what suits the device; 1: one δ at a time
    lower_once: bool = True  # blocks up to the z layer run once instead of at every step
    suffix_only: bool = True  # tokens before the subject's last one run once
    answers_only: bool = True  # logits where they are asked for instead of everywhere

    def tokens_on(self, device: torch.device) -> int:
        """How many tokens are run at once."""
        return self.tokens or (GPU_TOKENS if device.type == "cuda" else CPU_TOKENS)


@dataclass(frozen=True, order=True)
class PanelShape:
    """Rows of one δ that are run together."""

    rows: int
    length: int  # tokens that are run at every step
    past: int  # tokens before them, at most
    answers: int
    kept: int


Shape = tuple[PanelShape, ...]


@dataclass(frozen=True)
class Part:
    """The rows of one δ that go into one panel."""

    slot: Slot
    index: tuple[int, ...]  # numbers of the rows

    def shape(self, *, suffix_only: bool) -> PanelShape:
        """How much room they need, rounded up."""
        rows = [self.slot.rows[i] for i in self.index]
        begins = [row.subject if suffix_only else 0 for row in rows]
        answers = [sum(a[0] == i for a in self.slot.answers) for i in self.index]
        return PanelShape(
            rows=len(rows),
            length=up(max(len(r.read) - b for r, b in zip(rows, begins, strict=True))),
            past=up(max(begins), PAST_STEP),
            answers=len(rows) * up(max(answers)),
            kept=sum(k[0] in self.index for k in self.slot.kept),
        )


def up(number: int, step: int = LENGTH_STEP) -> int:
    """The next multiple of a step; 0 and 1 stay."""
    return number if number < 2 else -(-number // step) * step


def parts_of(slot: Slot, *, suffix_only: bool) -> tuple[Part, ...]:
    """Rows that end with the subject (the essence rows) apart from longer ones, so that little is padded."""
    short = [i for i, r in enumerate(slot.rows) if suffix_only and len(r.read) == r.subject + 1]
    long = [i for i in range(len(slot.rows)) if i not in short]
    return tuple(Part(slot, tuple(index)) for index in (long, short) if index)


@dataclass
class Panel:
    """Rows of one shape for a number of δs; row r belongs to the place r // shape.rows."""

    shape: PanelShape
    ids: Tensor  # (rows, past + length) of whole texts
    subject: Tensor  # (rows,) where δ is added, in the whole text
    stream: Tensor  # (rows, length, d) float32 after the z layer
    past: Past | None
    answer: Tensor  # (places, answers) positions in (rows * length), counted within a place; -1: none
    token: Tensor  # (places, answers)
    share: Tensor  # (places, answers)
    kept: Tensor  # (places, kept)
    weight: Tensor  # (places, kept)

    @property
    def places(self) -> int:
        """How many δs there is room for."""
        return len(self.answer)

    def per_place(self) -> Iterator[Tensor]:
        """Every tensor, with a first dimension that is a multiple of the places."""
        yield from (self.ids, self.subject, self.stream)
        yield from (self.answer, self.token, self.share, self.kept, self.weight)
        if self.past is not None:
            yield from (*self.past.keys.values(), *self.past.values.values(), self.past.lengths)

    def take(self, places: Tensor, other: "Panel", others: Tensor) -> None:
        """Put other panels' δs into places."""
        for own, given in zip(self.per_place(), other.per_place(), strict=True):
            per = len(own) // self.places
            own.view(self.places, per, *own.shape[1:])[places] = given.view(
                other.places, per, *own.shape[1:]
            )[others]
        if self.past is not None:
            self.past.masks.clear()


@torch.no_grad()
def make_panel(
    model: EditableModel,
    parts: Sequence[Part],
    shape: PanelShape,
    places: int,
    z_layer: int,
    *,
    suffix_only: bool,
) -> Panel:
    """A panel with as many δs as there are parts, the other places empty; everything that δ cannot change is run."""
    on, total = model.device, shape.past + shape.length
    rows = [part.slot.rows[i] for part in parts for i in part.index]
    empty = places * shape.rows - len(rows)
    ids = padded([*(r.read for r in rows), *[(0,)] * (empty + 1)], on, longest=total)[:-1]
    subject = torch.tensor([*(r.subject for r in rows), *[0] * empty], device=on)
    stream = model.run(model.embed(ids), 0, z_layer + 1)
    begin = subject if suffix_only else torch.zeros_like(subject)
    past = None
    if shape.past:
        recording = Recording()
        model.run(stream[:, : shape.past], z_layer + 1, len(model.blocks), recording)
        past = recording.past(begin)
    at = (begin[:, None] + torch.arange(shape.length, device=on)).clamp_max(total - 1)
    taken = stream.gather(1, at[:, :, None].expand(-1, -1, stream.shape[2])).float()
    asked = [_asked(part, shape, suffix_only=suffix_only) for part in parts]
    none = ([0] * shape.answers, [0] * shape.answers, [0.0] * shape.answers)
    blank = (*none, [0] * shape.kept, [0.0] * shape.kept)
    filled = [*asked, *[blank] * (places - len(parts))]
    columns = [torch.tensor(list(c), device=on) for c in zip(*filled, strict=True)]
    return Panel(shape, ids, subject, taken, past, *columns)


def _asked(part: Part, shape: PanelShape, *, suffix_only: bool) -> tuple[list[float], ...]:
    """Positions, tokens and shares of the answers, positions and weights of what is kept; positions count within a place."""
    place = {row: n for n, row in enumerate(part.index)}

    def where(row: int, at: int) -> int:
        return place[row] * shape.length + at - (part.slot.rows[row].subject if suffix_only else 0)

    answers = [(where(r, at), token, s) for r, at, token, s in part.slot.answers if r in place]
    answers += [(0, 0, 0.0)] * (shape.answers - len(answers))
    kept = [(where(r, at), weight) for r, at, weight in part.slot.kept if r in place]
    columns = [list(c) for c in zip(*answers, strict=True)] or [[], [], []]
    return (*columns, *([list(c) for c in zip(*kept, strict=True)] or [[], []]))


@dataclass
class Lane:
    """The δs that are being found: a place each."""

    model: EditableModel
    settings: ValueSettings
    economy: Economy
    panels: list[Panel]
    job: list[int]  # per place, the number of its δ; -1: empty
    delta: Tensor  # (places, d) float32, as all below
    mean: Tensor  # Adam's
    square: Tensor
    steps: Tensor  # (places,) updates so far
    norm: Tensor  # (places,) ‖z0‖
    active: Tensor  # (places,) bool
    before: list[Tensor | None]  # per panel (places, kept, vocabulary): log-probabilities at δ = 0

    def loss(self, delta: Tensor) -> Tensor:
        """Per place."""
        size = torch.linalg.vector_norm(delta, dim=-1)  # its gradient is 0 at 0
        found = self.settings.v_weight_decay * size / self.norm**2
        for number, panel in enumerate(self.panels):
            found = found + self._panel_loss(number, panel, delta)
        return found

    def _panel_loss(self, number: int, panel: Panel, delta: Tensor) -> Tensor:
        model, shape, z_layer = self.model, panel.shape, self.settings.z_layer
        suffix_only, rows = shape.past > 0 or shape.length == 1, len(panel.subject)
        stream = panel.stream
        if not self.economy.lower_once:
            with torch.no_grad():
                stream = model.run(model.embed(panel.ids), 0, z_layer + 1)
        at = torch.zeros_like(panel.subject) if suffix_only else panel.subject
        each = torch.arange(rows, device=at.device)
        moved = stream.index_put(
            (each, at), delta.repeat_interleave(shape.rows, 0).to(stream.dtype), accumulate=True
        )
        dtype = model.weight(0).dtype
        top = model.run(moved.to(dtype), z_layer + 1, len(model.blocks), panel.past)
        flat = top.reshape(panel.places, shape.rows * shape.length, -1)
        if not self.economy.answers_only:
            everywhere = model.logits(flat.reshape(-1, flat.shape[-1])).float().log_softmax(-1)
            flat = everywhere.view(*flat.shape[:2], -1)
        loss = self._answers(panel, flat)
        return loss + self._kept(number, panel, flat) if shape.kept else loss

    def _at(self, flat: Tensor, at: Tensor) -> Tensor:
        """Log-probabilities at positions (places, n) -> (places * n, vocabulary)."""
        found = flat.gather(1, at[:, :, None].expand(-1, -1, flat.shape[2])).flatten(0, 1)
        if not self.economy.answers_only:
            return found
        return self.model.logits(found).float()

    def _answers(self, panel: Panel, flat: Tensor) -> Tensor:
        if not panel.shape.answers:
            return torch.zeros(panel.places, device=flat.device)
        logits = self._at(flat, panel.answer)
        nll = cross_entropy(logits, panel.token.flatten(), reduction="none")
        return (nll.view_as(panel.share) * panel.share).sum(1)

    def _kept(self, number: int, panel: Panel, flat: Tensor) -> Tensor:
        now = self._at(flat, panel.kept).log_softmax(-1).view(*panel.kept.shape, -1)
        old = self.before[number]
        first = (self.steps == 0)[:, None, None]
        self.before[number] = old = now.detach() if old is None else now.detach().where(first, old)
        return ((now.exp() * (now - old)).sum(-1) * panel.weight).sum(1)

    def step(self) -> None:
        """One evaluation, and one update of what has not converged."""
        here = self.delta.detach().requires_grad_(True)
        loss = self.loss(here)
        (gradient,) = torch.autograd.grad(loss.sum(), here)
        self.active &= ~(loss.detach() < self.settings.loss_threshold)
        self.steps += self.active
        moved = self.delta - self._adam(gradient)
        limit = self.settings.clamp_norm_factor * self.norm
        size = moved.norm(dim=-1)
        moved = torch.where((size > limit)[:, None], moved * (limit / size)[:, None], moved)
        self.delta = torch.where(self.active[:, None], moved, self.delta)
        self.active &= self.steps < self.settings.v_num_grad_steps - 1

    def _adam(self, gradient: Tensor) -> Tensor:
        """What is subtracted: torch's Adam with its defaults, each place with its own count of steps."""
        self.mean.mul_(0.9).add_(gradient, alpha=0.1)
        self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        count = self.steps.clamp_min(1)[:, None]
        root = (self.square / (1 - 0.999**count)).sqrt() + 1e-8
        return self.settings.v_lr * self.mean / (1 - 0.9**count) / root

    def put(self, places: list[int], page: "Page", others: list[int]) -> None:
        """New δs into places, from a page."""
        at = torch.tensor(places, device=self.delta.device)
        given = torch.tensor(others, device=self.delta.device)
        for own, panel in zip(self.panels, page.panels, strict=True):
            own.take(at, panel, given)
        for tensor in (self.delta, self.mean, self.square, self.steps):
            tensor[at] = 0
        self.norm[at], self.active[at] = page.norm[given], True
        for place, other in zip(places, others, strict=True):
            self.job[place] = page.job[other]


@dataclass
class Page:
    """The next δs of a lane, ready to be put into its places."""

    panels: list[Panel]
    job: list[int]
    norm: Tensor  # (places,)
    bare: list[Tensor]  # per δ (edits, d) float32: where its edits' bare rows stand


def find_deltas(
    model: EditableModel, slots: Sequence[Slot], settings: ValueSettings, economy: Economy
) -> Iterator[tuple[int, Tensor]]:
    """(number of the slot, z of its edits (edits, d) float32), in the order in which they are found.

    Raises: SingularSystem: a value is not a finite number.
    """
    suffix_only = economy.suffix_only and economy.lower_once and model.family.keeps_past
    lanes: dict[Shape, list[int]] = defaultdict(list)
    for number, slot in enumerate(slots):
        parts = parts_of(slot, suffix_only=suffix_only)
        lanes[tuple(part.shape(suffix_only=suffix_only) for part in parts)].append(number)
    for shape in sorted(lanes):
        yield from _run(model, slots, lanes[shape], shape, settings, economy, suffix_only)


def _run(
    model: EditableModel,
    slots: Sequence[Slot],
    jobs: Sequence[int],
    shape: Shape,
    settings: ValueSettings,
    economy: Economy,
    suffix_only: bool,
) -> Iterator[tuple[int, Tensor]]:
    each = sum(panel.rows * panel.length for panel in shape)
    places = max(1, economy.tokens_on(model.device) // each)
    pages = _pages(model, slots, jobs, shape, places, settings.z_layer, suffix_only)
    page = next(pages)
    lane, bare = _empty(model, page, settings, economy, shape), {}
    waiting = list(range(len(page.job)))
    while True:
        free = [n for n, (job, on) in enumerate(zip(lane.job, lane.active.tolist(), strict=True)) if not on]
        for place in free:
            if lane.job[place] >= 0:
                yield lane.job[place], _value(bare.pop(lane.job[place]), lane.delta[place])
                lane.job[place] = -1
        while free:
            if not waiting:
                following = next(pages, None)
                if following is None:
                    break
                page, waiting = following, list(range(len(following.job)))
            taken, waiting = waiting[: len(free)], waiting[len(free) :]
            lane.put(free[: len(taken)], page, taken)
            bare |= {page.job[n]: page.bare[n] for n in taken}
            free = free[len(taken) :]
        if all(job < 0 for job in lane.job):
            return
        lane.step()


def _value(bare: Tensor, delta: Tensor) -> Tensor:
    found = bare + delta
    if not torch.isfinite(found).all():
        raise SingularSystem(
            "a value is not finite; are the weights finite and the learning rate sane?"
        )
    return found


def _pages(
    model: EditableModel,
    slots: Sequence[Slot],
    jobs: Sequence[int],
    shape: Shape,
    places: int,
    z_layer: int,
    suffix_only: bool,
) -> Iterator[Page]:
    for start in range(0, len(jobs), places):
        chosen = list(jobs[start : start + places])
        parts = [parts_of(slots[job], suffix_only=suffix_only) for job in chosen]
        panels = [
            make_panel(model, [p[n] for p in parts], kind, places, z_layer, suffix_only=suffix_only)
            for n, kind in enumerate(shape)
        ]
        bare = [_bare(panels, parts[n], n, suffix_only) for n in range(len(chosen))]
        norm = torch.ones(places, device=model.device)
        norm[: len(chosen)] = torch.stack([rows[0].norm() for rows in bare])
        yield Page(panels, chosen, norm, bare)


def _bare(panels: Sequence[Panel], parts: Sequence[Part], place: int, suffix_only: bool) -> Tensor:
    """The stream of the bare rows at the subject's last token, (edits, d)."""
    found = []
    for row in parts[0].slot.bare:
        number, part = next((n, p) for n, p in enumerate(parts) if row in p.index)
        panel = panels[number]
        at = place * panel.shape.rows + part.index.index(row)
        found.append(panel.stream[at, 0 if suffix_only else int(panel.subject[at])])
    return torch.stack(found)


def _empty(
    model: EditableModel, page: Page, settings: ValueSettings, economy: Economy, shape: Shape
) -> Lane:
    """A lane in whose places nothing is found yet; it keeps the page's tensors' shapes."""
    places, d = page.panels[0].places, page.panels[0].stream.shape[-1]
    zeros = [torch.zeros(places, d, device=model.device) for _ in range(3)]
    return Lane(
        model,
        settings,
        economy,
        [_copy(panel) for panel in page.panels],
        [-1] * places,
        *zeros,
        torch.zeros(places, dtype=torch.long, device=model.device),
        torch.ones(places, device=model.device),
        torch.zeros(places, dtype=torch.bool, device=model.device),
        [None] * len(shape),
    )


def _copy(panel: Panel) -> Panel:
    past = panel.past
    if past is not None:
        past = Past(
            {n: k.clone() for n, k in past.keys.items()},
            {n: v.clone() for n, v in past.values.items()},
            past.lengths.clone(),
            past.longest,
        )
    own = (panel.answer, panel.token, panel.share, panel.kept, panel.weight)
    return Panel(
        panel.shape,
        panel.ids.clone(),
        panel.subject.clone(),
        panel.stream.clone(),
        past,
        *(tensor.clone() for tensor in own),
    )
