"""Target values of many facts at once, in batches that are refilled as facts converge.

The arithmetic is that of editor/values/values.py. What δ cannot change is computed once (items 1 to
6 of docs/explanation/editing.md, "Speed"): the blocks up to the z layer, and the tokens before the
subject's last one, whose keys and values are cached. Logits are computed only where the loss needs
them.

The bits of a value do not depend on what is computed beside it. All rows of a batch have one
length. On a GPU, whose kernels depend on the number of rows, a batch always runs the same number of
rows, whether they are used or not. On a CPU the kernels do the same for every row from a few rows
on (`minimum_rows`), and a batch that runs out of facts shrinks.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from factd.editor.errors import BadValue
from factd.editor.models.model import EditableModel, minimum_rows, remember_half
from factd.editor.values.batch import BatchShape, LogitPositions, ProblemBatch, make_batch, shape_of
from factd.editor.values.problem import ValueProblem, ValueSettings

CPU_TOKENS, GPU_TOKENS = 1152, 8192  # run at once; a matrix product is fastest at these sizes
GPU_CHECK_STEPS = 4  # steps between two checks of what has converged
GPU_LOGITS = 1024  # positions whose logits are computed at once
EMPTY = -1  # in place of a problem's number


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """How the optimiser saves computation.

    No option changes a value by more than rounding. Benchmarks switch them off to measure their
    share.
    """

    tokens: int | None = None  # run at once; None: what suits the device; 1: one δ at a time
    lower_once: bool = True  # run blocks up to the z layer once instead of at every step
    suffix_only: bool = True  # run the tokens before the subject's last one once
    answers_only: bool = True  # compute logits only where the loss needs them
    check_steps: int | None = (
        None  # steps between two checks of what has converged; a check waits for the GPU
    )

    def tokens_on(self, device: torch.device) -> int:
        """How many tokens are run at once on a device."""
        return self.tokens or (GPU_TOKENS if device.type == "cuda" else CPU_TOKENS)


@dataclass
class DeltaOptimizer:
    """Adam on the δs of a batch of problems; all of them take a step at once."""

    model: EditableModel
    settings: ValueSettings
    compute: ComputeOptions
    batch: ProblemBatch
    numbers: list[int]  # (capacity,) the number of each problem, or EMPTY
    delta: Tensor  # δ, (capacity, d) float32, as all below if not said otherwise
    mean: Tensor  # (capacity, d), Adam's mean of the gradient
    square: Tensor  # (capacity, d), Adam's mean of its square
    steps: Tensor  # (capacity,) int64, updates so far
    corrections: Tensor  # (2, steps + 1), Adam's 1 - 0.9ⁿ and 1 - 0.999ⁿ
    norm: Tensor  # (capacity,) ‖z0‖
    active: Tensor  # (capacity,) bool, not converged
    positions: LogitPositions
    block: int  # logits are computed for multiples of so many positions
    before: Tensor | None = None  # (capacity, kept, vocabulary) log-probabilities at δ = 0

    def loss(self, delta: Tensor) -> Tensor:
        """The loss of every problem, (capacity,) float32, for δs (capacity, d)."""
        model, batch, z_layer = self.model, self.batch, self.settings.z_layer
        stream = batch.stream
        if not self.compute.lower_once:
            with torch.no_grad():
                stream = model.run(model.embed(batch.ids), 0, z_layer + 1)
        each = torch.arange(len(stream), device=stream.device)
        at = torch.zeros_like(batch.subject) if batch.suffix_only else batch.subject
        added = delta.repeat_interleave(batch.shape.rows, 0).to(stream.dtype)
        moved = stream.index_put((each, at), added, accumulate=True).to(model.weight(0).dtype)
        flat = model.run(moved, z_layer + 1, len(model.blocks), batch.past).flatten(0, 1)
        log, positions = self._log_probabilities(flat), self.positions
        count = len(positions.token)
        nll = -log[:count].gather(1, positions.token[:, None])[:, 0] * positions.share
        size = torch.linalg.vector_norm(delta, dim=-1)  # its gradient is 0 at 0
        decay = self.settings.v_weight_decay * size / self.norm**2
        kept = log[count : count + batch.kept.numel()].view(*batch.kept.shape, -1)
        loss: Tensor = decay.index_add(0, positions.problem, nll) + self._divergence(kept)
        return loss

    def _log_probabilities(self, flat: Tensor) -> Tensor:
        """Log-probabilities (n, vocabulary) at the positions; flat (all tokens, d): the stream."""
        at = self.positions.at
        if not self.compute.answers_only:
            return self.model.logits(flat).float().log_softmax(-1).index_select(0, at)
        size = self.block if flat.is_cuda else len(at)
        parts = torch.split(at, size)
        return torch.cat([self.model.logits(flat[part]).float().log_softmax(-1) for part in parts])

    def _divergence(self, now: Tensor) -> Tensor:
        """The weighted KL of the kept positions against δ = 0, (capacity,), in nats."""
        old, new = self.before, (self.steps == 0)[:, None, None]
        self.before = old = now.detach() if old is None else now.detach().where(new, old)
        return ((now.exp() * (now - old)).sum(-1) * self.batch.weight).sum(1)

    def step(self) -> None:
        """Evaluate every problem once and update the δs that have not converged."""
        here = self.delta.detach().requires_grad_(True)
        with attention_for(self.model):
            loss = self.loss(here)
            (gradient,) = torch.autograd.grad(loss.sum(), here)
        self.active &= ~(loss.detach() < self.settings.loss_threshold)
        self.steps += self.active
        moved = self.delta - self._adam_step(gradient)
        limit = self.settings.clamp_norm_factor * self.norm
        size = moved.norm(dim=-1)
        moved = torch.where((size > limit)[:, None], moved * (limit / size)[:, None], moved)
        self.delta = torch.where(self.active[:, None], moved, self.delta)
        self.active &= self.steps < self.settings.v_num_grad_steps - 1

    def _adam_step(self, gradient: Tensor) -> Tensor:
        """What torch's Adam with its defaults subtracts, (capacity, d).

        Each problem has its own step count. The corrections are looked up, because a power is
        rounded differently in the last few numbers of a tensor.
        """
        self.mean.mul_(0.9).add_(gradient, alpha=0.1)
        self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        root = (self.square / self.corrections[1][self.steps][:, None]).sqrt() + 1e-8
        return self.settings.v_lr * self.mean / self.corrections[0][self.steps][:, None] / root

    def load(self, indices: list[int], prepared: "PreparedProblems", others: list[int]) -> None:
        """Start the prepared problems with the numbers `others` at some indices of the batch."""
        self.batch.replace_problems(indices, prepared.batch, others)
        for tensor in (self.delta, self.mean, self.square, self.steps):
            tensor[indices] = 0
        self.norm[indices], self.active[indices] = prepared.norm[others], True
        self.positions = self.batch.logit_positions(self.block)
        for index, other in zip(indices, others, strict=True):
            self.numbers[index] = prepared.numbers[other]

    def clear(self, index: int) -> None:
        """Mark an index as empty."""
        self.numbers[index] = EMPTY
        self.batch.answers[index] = []

    def shrink_to(self, indices: list[int]) -> None:
        """Continue with some indices of the batch only."""
        self.batch = self.batch.subset(indices)
        for name in ("delta", "mean", "square", "steps", "norm", "active"):
            setattr(self, name, getattr(self, name)[indices])
        self.before = None if self.before is None else self.before[indices]
        self.numbers = [self.numbers[index] for index in indices]
        self.positions = self.batch.logit_positions(self.block)


@dataclass
class PreparedProblems:
    """The next problems, ready to be loaded into a batch."""

    batch: ProblemBatch
    numbers: list[int]  # the number of each problem
    norm: Tensor  # (capacity,) float32, ‖z0‖
    bare: list[Tensor]  # per problem (edits, d) float32: the stream of its edits' bare rows


Evaluated = Callable[[int], None]  # is told of evaluations of problems, as they are made


def find_values(
    model: EditableModel,
    problems: Sequence[ValueProblem],
    settings: ValueSettings,
    compute: ComputeOptions,
    evaluated: Evaluated | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """(number of the problem, z of its edits (edits, d) float32), as problems converge.

    If memory runs out, half as many tokens are run at once from then on. evaluated: is told after
    each step how many problems were evaluated in it.

    Raises: BadValue: a value is not finite. OutOfMemoryError: not even one problem fits.
    """
    suffix_only = compute.suffix_only and compute.lower_once and model.family.keeps_past
    by_shape: dict[BatchShape, list[int]] = defaultdict(list)
    for number, problem in enumerate(problems):
        by_shape[shape_of(problem, suffix_only=suffix_only)].append(number)
    for shape in sorted(by_shape):
        left = dict.fromkeys(by_shape[shape])
        while left:
            tokens = model.batch_sizes.get("values", compute.tokens_on(model.device))
            own = replace(compute, tokens=tokens)
            try:
                for number, values in _values_of_shape(
                    model, problems, list(left), shape, settings, own, suffix_only, evaluated
                ):
                    yield number, values
                    del left[number]
            except torch.OutOfMemoryError:
                remember_half(model, "values", tokens, least=shape.rows * shape.length)


def _values_of_shape(
    model: EditableModel,
    problems: Sequence[ValueProblem],
    numbers: Sequence[int],
    shape: BatchShape,
    settings: ValueSettings,
    compute: ComputeOptions,
    suffix_only: bool,
    evaluated: Evaluated | None,
) -> Iterator[tuple[int, Tensor]]:
    """`find_values` for the problems with some numbers, all of one shape."""
    each = shape.rows * shape.length
    least = -(-minimum_rows(model.device) // each)
    capacity = max(least, compute.tokens_on(model.device) // each)
    fixed = model.device.type == "cuda"
    if not fixed:
        capacity = max(least, min(capacity, len(numbers)))
    preparations = _prepare(
        model, problems, numbers, shape, capacity, settings.z_layer, suffix_only
    )
    prepared: PreparedProblems | None = next(preparations)
    assert prepared is not None  # there is at least one problem
    optimizer = _empty_optimizer(model, prepared, settings, compute)
    bare: dict[int, Tensor] = {}
    waiting = list(range(len(prepared.numbers)))
    while True:
        free = [index for index, on in enumerate(optimizer.active.tolist()) if not on]
        for index in (i for i in free if optimizer.numbers[i] != EMPTY):
            number = optimizer.numbers[index]
            yield number, _finite(number, bare.pop(number) + optimizer.delta[index])
            optimizer.clear(index)
        while free and prepared is not None:
            taken, waiting = waiting[: len(free)], waiting[len(free) :]
            optimizer.load(free[: len(taken)], prepared, taken)
            bare |= {prepared.numbers[n]: prepared.bare[n] for n in taken}
            free = free[len(taken) :]
            if not waiting:
                prepared = next(preparations, None)
                waiting = list(range(len(prepared.numbers))) if prepared is not None else []
        busy = [index for index, number in enumerate(optimizer.numbers) if number != EMPTY]
        if not busy:
            return
        if not fixed and max(least, len(busy)) < len(optimizer.numbers):
            optimizer.shrink_to((busy + free)[: max(least, len(busy))])
        for _ in range(compute.check_steps or (GPU_CHECK_STEPS if fixed else 1)):
            optimizer.step()
            if evaluated is not None:
                evaluated(len(busy))


def attention_for(model: EditableModel) -> AbstractContextManager[Any]:
    """A context in which attention runs by matrix products, if that is faster.

    It is for bfloat16 on a CPU. There the fused backward pass of torch 2.13 takes ten times as
    long.
    """
    slow = model.device.type == "cpu" and model.dtype == "bfloat16"
    return sdpa_kernel(SDPBackend.MATH) if slow else nullcontext()


def _finite(number: int, values: Tensor) -> Tensor:
    """The values of a problem. Raises: BadValue: one of them is not finite."""
    if not torch.isfinite(values).all():
        raise BadValue(number)
    return values


def _prepare(
    model: EditableModel,
    problems: Sequence[ValueProblem],
    numbers: Sequence[int],
    shape: BatchShape,
    capacity: int,
    z_layer: int,
    suffix_only: bool,
) -> Iterator[PreparedProblems]:
    """The problems with some numbers, prepared `capacity` at a time."""
    for start in range(0, len(numbers), capacity):
        chosen = list(numbers[start : start + capacity])
        own = [problems[number] for number in chosen]
        batch = make_batch(model, own, shape, capacity, z_layer, suffix_only=suffix_only)
        bare = [_bare_stream(batch, problem, index) for index, problem in enumerate(own)]
        norm = torch.ones(capacity, device=model.device)
        norm[: len(chosen)] = torch.stack([rows[0].norm() for rows in bare])
        yield PreparedProblems(batch, chosen, norm, bare)


def _bare_stream(batch: ProblemBatch, problem: ValueProblem, index: int) -> Tensor:
    """z0 of a problem's edits, (edits, d): the stream of their bare rows at the subject."""
    rows = batch.stream.view(batch.capacity, batch.shape.rows, batch.shape.length, -1)[index]
    at = [0 if batch.suffix_only else problem.rows[row].subject for row in problem.bare]
    return rows[list(problem.bare), at]


def _empty_optimizer(
    model: EditableModel,
    prepared: PreparedProblems,
    settings: ValueSettings,
    compute: ComputeOptions,
) -> DeltaOptimizer:
    """An optimiser of the shape and capacity of the prepared problems, without any problem."""
    capacity, on, d = prepared.batch.capacity, model.device, prepared.batch.stream.shape[-1]
    count = range(settings.v_num_grad_steps + 1)
    block = GPU_LOGITS if on.type == "cuda" else minimum_rows(on)
    return DeltaOptimizer(
        model=model,
        settings=settings,
        compute=compute,
        batch=prepared.batch.subset(list(range(capacity))),
        numbers=[EMPTY] * capacity,
        delta=torch.zeros(capacity, d, device=on),
        mean=torch.zeros(capacity, d, device=on),
        square=torch.zeros(capacity, d, device=on),
        steps=torch.zeros(capacity, dtype=torch.long, device=on),
        corrections=torch.tensor(
            [[1 - b ** max(n, 1) for n in count] for b in (0.9, 0.999)], device=on
        ),
        norm=torch.ones(capacity, device=on),
        active=torch.zeros(capacity, dtype=torch.bool, device=on),
        positions=prepared.batch.logit_positions(block),
        block=block,
    )
