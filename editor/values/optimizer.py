"""Target values of many facts at once, in lanes of one fixed shape that are refilled as facts converge.

The arithmetic is that of editor/values/values.py; what is saved is everything that δ cannot change (EDITING §4, items 1 to 6): the
blocks up to the z layer, the tokens before the subject's last one (their keys and values are kept), and logits that nobody asks
for. The bits of a value do not depend on what is computed beside it: all rows of a lane have one length; on a GPU, whose
kernels depend on the number of rows, a lane always runs the same number, whether its places are taken or not; on a CPU the
kernels do the same for every row from a few rows on, and a lane that runs out of facts grows narrow.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from factd.editor.errors import BadValue
from factd.editor.models.model import EditableModel, halve, least_rows
from factd.editor.values.batch import Asked, Panel, Shape, make_panel, shape_of
from factd.editor.values.problem import Slot, ValueSettings

CPU_TOKENS, GPU_TOKENS = 1152, 8192  # run at once, where a matrix product is at its best
GPU_LOOK = 4  # steps between two looks at what has converged
GPU_LOGITS = 1024  # positions whose logits are taken at once


@dataclass(frozen=True, kw_only=True)
class Economy:
    """What is saved. Nothing of it changes a value by more than rounding; benchmarks switch it off to see its share."""

    tokens: int | None = None  # run at once; None: what suits the device; 1: one δ at a time
    lower_once: bool = True  # blocks up to the z layer run once instead of at every step
    suffix_only: bool = True  # tokens before the subject's last one run once
    answers_only: bool = True  # logits where they are asked for instead of everywhere
    look: int | None = None  # steps between two looks at what has converged; a look waits for a GPU

    def tokens_on(self, device: torch.device) -> int:
        """How many tokens are run at once."""
        return self.tokens or (GPU_TOKENS if device.type == "cuda" else CPU_TOKENS)


@dataclass
class Lane:
    """The δs that are being found: a place each."""

    model: EditableModel
    settings: ValueSettings
    economy: Economy
    panel: Panel
    job: list[int]  # per place, the number of its δ; -1: empty
    delta: Tensor  # (places, d) float32, as all below
    mean: Tensor  # Adam's
    square: Tensor
    steps: Tensor  # (places,) updates so far
    corrections: Tensor  # (2, steps + 1) Adam's 1 - 0.9ⁿ and 1 - 0.999ⁿ
    norm: Tensor  # (places,) ‖z0‖
    active: Tensor  # (places,) bool
    asked: Asked
    block: int  # of positions whose logits are taken at once
    before: Tensor | None = None  # (places, kept, vocabulary) log-probabilities at δ = 0

    def loss(self, delta: Tensor) -> Tensor:
        """Per place."""
        model, panel, z_layer = self.model, self.panel, self.settings.z_layer
        stream = panel.stream
        if not self.economy.lower_once:
            with torch.no_grad():
                stream = model.run(model.embed(panel.ids), 0, z_layer + 1)
        each = torch.arange(len(stream), device=stream.device)
        at = torch.zeros_like(panel.subject) if panel.suffix_only else panel.subject
        added = delta.repeat_interleave(panel.shape.rows, 0).to(stream.dtype)
        moved = stream.index_put((each, at), added, accumulate=True).to(model.weight(0).dtype)
        flat = model.run(moved, z_layer + 1, len(model.blocks), panel.past).flatten(0, 1)
        log, asked = self._log(flat), self.asked
        count = len(asked.token)
        nll = -log[:count].gather(1, asked.token[:, None])[:, 0] * asked.share
        size = torch.linalg.vector_norm(delta, dim=-1)  # its gradient is 0 at 0
        decay = self.settings.v_weight_decay * size / self.norm**2
        kept = log[count : count + panel.kept.numel()].view(*panel.kept.shape, -1)
        found: Tensor = decay.index_add(0, asked.place, nll) + self._kept(kept)
        return found

    def _log(self, flat: Tensor) -> Tensor:
        """Log-probabilities where they are asked for, (n, vocabulary)."""
        if not self.economy.answers_only:
            return self.model.logits(flat).float().log_softmax(-1).index_select(0, self.asked.at)
        size = self.block if flat.is_cuda else len(self.asked.at)
        parts = torch.split(self.asked.at, size)
        return torch.cat([self.model.logits(flat[at]).float().log_softmax(-1) for at in parts])

    def _kept(self, now: Tensor) -> Tensor:
        old, new = self.before, (self.steps == 0)[:, None, None]
        self.before = old = now.detach() if old is None else now.detach().where(new, old)
        return ((now.exp() * (now - old)).sum(-1) * self.panel.weight).sum(1)

    def step(self) -> None:
        """One evaluation, and one update of what has not converged."""
        here = self.delta.detach().requires_grad_(True)
        with attention_for(self.model):
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
        """What is subtracted: torch's Adam with its defaults, each place with its own count of steps (looked up: a power is
        rounded otherwise in the last few numbers of a tensor)."""
        self.mean.mul_(0.9).add_(gradient, alpha=0.1)
        self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        root = (self.square / self.corrections[1][self.steps][:, None]).sqrt() + 1e-8
        return self.settings.v_lr * self.mean / self.corrections[0][self.steps][:, None] / root

    def put(self, places: list[int], page: "Page", others: list[int]) -> None:
        """New δs into places, from a page."""
        self.panel.take(places, page.panel, others)
        for tensor in (self.delta, self.mean, self.square, self.steps):
            tensor[places] = 0
        self.norm[places], self.active[places] = page.norm[others], True
        self.asked = self.panel.asked(self.block)
        for place, other in zip(places, others, strict=True):
            self.job[place] = page.job[other]

    def keep(self, places: list[int]) -> None:
        """Only some places go on."""
        self.panel = self.panel.of(places)
        for name in ("delta", "mean", "square", "steps", "norm", "active"):
            setattr(self, name, getattr(self, name)[places])
        self.before = None if self.before is None else self.before[places]
        self.job = [self.job[place] for place in places]
        self.asked = self.panel.asked(self.block)


@dataclass
class Page:
    """The next δs of a lane, ready to be put into its places."""

    panel: Panel
    job: list[int]
    norm: Tensor  # (places,)
    bare: list[Tensor]  # per δ (edits, d) float32: where its edits' bare rows stand


def find_deltas(
    model: EditableModel, slots: Sequence[Slot], settings: ValueSettings, economy: Economy
) -> Iterator[tuple[int, Tensor]]:
    """(number of the slot, z of its edits (edits, d) float32), in the order in which they are found.

    Raises: BadValue: a value is not a finite number.
    """
    suffix_only = economy.suffix_only and economy.lower_once and model.family.keeps_past
    lanes: dict[Shape, list[int]] = defaultdict(list)
    for number, slot in enumerate(slots):
        lanes[shape_of(slot, suffix_only=suffix_only)].append(number)
    for shape in sorted(lanes):
        left = dict.fromkeys(lanes[shape])
        while left:
            tokens = model.sizes.get("values", economy.tokens_on(model.device))
            own = replace(economy, tokens=tokens)
            try:
                for number, values in _run(
                    model, slots, list(left), shape, settings, own, suffix_only
                ):
                    yield number, values
                    del left[number]
            except torch.OutOfMemoryError:
                halve(model, "values", tokens, least=shape.rows * shape.length)


def _run(
    model: EditableModel,
    slots: Sequence[Slot],
    jobs: Sequence[int],
    shape: Shape,
    settings: ValueSettings,
    economy: Economy,
    suffix_only: bool,
) -> Iterator[tuple[int, Tensor]]:
    each = shape.rows * shape.length
    least = -(-least_rows(model.device) // each)
    places = max(least, economy.tokens_on(model.device) // each)
    fixed = model.device.type == "cuda"
    if not fixed:
        places = max(least, min(places, len(jobs)))
    pages = _pages(model, slots, jobs, shape, places, settings.z_layer, suffix_only)
    page: Page | None = next(pages)
    assert page is not None  # there is at least one job
    lane = _empty(model, page, settings, economy)
    bare: dict[int, Tensor] = {}
    waiting = list(range(len(page.job)))
    while True:
        free = [place for place, on in enumerate(lane.active.tolist()) if not on]
        for place in (p for p in free if lane.job[p] >= 0):
            job = lane.job[place]
            yield job, _value(job, bare.pop(job), lane.delta[place])
            lane.job[place] = -1
            lane.panel.answers[place] = []
        while free and page is not None:
            taken, waiting = waiting[: len(free)], waiting[len(free) :]
            lane.put(free[: len(taken)], page, taken)
            bare |= {page.job[n]: page.bare[n] for n in taken}
            free = free[len(taken) :]
            if not waiting:
                page = next(pages, None)
                waiting = list(range(len(page.job))) if page is not None else []
        busy = [place for place, job in enumerate(lane.job) if job >= 0]
        if not busy:
            return
        if not fixed and max(least, len(busy)) < len(lane.job):
            lane.keep((busy + free)[: max(least, len(busy))])
        for _ in range(economy.look or (GPU_LOOK if fixed else 1)):
            lane.step()


def attention_for(model: EditableModel) -> AbstractContextManager[Any]:
    """Attention by matrix products in bfloat16 on a CPU, where torch 2.13's fused backward pass takes ten times as long."""
    slow = model.device.type == "cpu" and model.dtype == "bfloat16"
    return sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()


def _value(job: int, bare: Tensor, delta: Tensor) -> Tensor:
    found = bare + delta
    if not torch.isfinite(found).all():
        raise BadValue(job)
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
        own = [slots[job] for job in chosen]
        panel = make_panel(model, own, shape, places, z_layer, suffix_only=suffix_only)
        bare = [_bare(panel, slot, place) for place, slot in enumerate(own)]
        norm = torch.ones(places, device=model.device)
        norm[: len(chosen)] = torch.stack([rows[0].norm() for rows in bare])
        yield Page(panel, chosen, norm, bare)


def _bare(panel: Panel, slot: Slot, place: int) -> Tensor:
    """The stream of the bare rows at the subject's last token, (edits, d)."""
    rows = panel.stream.view(panel.places, panel.shape.rows, panel.shape.length, -1)[place]
    at = [0 if panel.suffix_only else slot.rows[row].subject for row in slot.bare]
    return rows[list(slot.bare), at]


def _empty(model: EditableModel, page: Page, settings: ValueSettings, economy: Economy) -> Lane:
    """A lane of a page's shape in whose places nothing is found yet."""
    places, on, d = page.panel.places, model.device, page.panel.stream.shape[-1]
    count = range(settings.v_num_grad_steps + 1)
    block = GPU_LOGITS if on.type == "cuda" else least_rows(on)
    return Lane(
        model=model,
        settings=settings,
        economy=economy,
        panel=page.panel.of(list(range(places))),
        job=[-1] * places,
        delta=torch.zeros(places, d, device=on),
        mean=torch.zeros(places, d, device=on),
        square=torch.zeros(places, d, device=on),
        steps=torch.zeros(places, dtype=torch.long, device=on),
        corrections=torch.tensor(
            [[1 - b ** max(n, 1) for n in count] for b in (0.9, 0.999)], device=on
        ),
        norm=torch.ones(places, device=on),
        active=torch.zeros(places, dtype=torch.bool, device=on),
        asked=page.panel.asked(block),
        block=block,
    )
