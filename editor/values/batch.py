"""Value problems as tensors of one shape, with everything that δ cannot change already computed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from factd.editor.families._kv_cache import KvCache, KvRecorder
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import padded
from factd.editor.values.problem import ValueProblem

PAST_STEP, LENGTH_STEP = 16, 2  # shapes are rounded up to multiples, so that there are few


@dataclass(frozen=True, order=True)
class BatchShape:
    """The sizes of one problem's tensors, rounded up. Problems of one shape share a batch."""

    rows: int
    length: int  # tokens that are run at every step
    past: int  # tokens before them, at most
    kept: int  # KL terms


def shape_of(problem: ValueProblem, *, suffix_only: bool) -> BatchShape:
    """A problem's shape. suffix_only: the tokens before the subject's last one are cached."""
    begins = [row.subject if suffix_only else 0 for row in problem.rows]
    lengths = [len(r.read) - b for r, b in zip(problem.rows, begins, strict=True)]
    return BatchShape(
        rows=len(problem.rows),
        length=rounded_up(max(lengths), LENGTH_STEP),
        past=rounded_up(max(begins), PAST_STEP),
        kept=len(problem.kept),
    )


def rounded_up(number: int, step: int) -> int:
    """The least multiple of a step that is not below the number."""
    return -(-number // step) * step


Answer = tuple[
    int, int, float
]  # position in rows * length of its problem, token, share of the loss


@dataclass(frozen=True)
class LogitPositions:
    """The positions of a batch where logits are computed.

    First come those of the answers, then those of the KL terms, then filling that nobody reads.
    """

    problem: Tensor  # (answers,) int64, index of the answer's problem in the batch
    token: Tensor  # (answers,) int64
    share: Tensor  # (answers,) float32, of the loss
    at: Tensor  # (n,) int64, positions in capacity * rows * length


@dataclass
class ProblemBatch:
    """Several problems of one shape; row r belongs to the problem with the index r // shape.rows.

    Where there are fewer problems than the capacity, the other indices are empty.
    """

    shape: BatchShape
    suffix_only: bool
    ids: Tensor  # (capacity * rows, past + length) int64, whole texts
    subject: Tensor  # (capacity * rows,) int64, where δ is added, in the whole text
    stream: Tensor  # (capacity * rows, length, d) float32, after the z layer
    past: KvCache | None
    kept: Tensor  # (capacity, kept) int64, positions of the KL terms in rows * length
    weight: Tensor  # (capacity, kept) float32
    answers: list[list[Answer]]  # per problem

    @property
    def capacity(self) -> int:
        """How many problems the batch can hold."""
        return len(self.answers)

    def replace_problems(
        self, indices: Sequence[int], other: "ProblemBatch", other_indices: Sequence[int]
    ) -> None:
        """Overwrite the problems at some indices by those of another batch of this shape."""
        for own, given in zip(self._tensors(), other._tensors(), strict=True):
            per = len(own) // self.capacity
            chosen = given.view(other.capacity, per, *own.shape[1:])[list(other_indices)]
            own.view(self.capacity, per, *own.shape[1:])[list(indices)] = chosen
        for index, number in zip(indices, other_indices, strict=True):
            self.answers[index] = other.answers[number]
        if self.past is not None:
            self.past.computed.clear()

    def _tensors(self) -> Iterator[Tensor]:
        """Every tensor; the first dimension of each is a multiple of the capacity."""
        yield from (self.ids, self.subject, self.stream, self.kept, self.weight)
        if self.past is not None:
            yield from (*self.past.keys.values(), *self.past.values.values(), self.past.lengths)

    def subset(self, indices: list[int]) -> "ProblemBatch":
        """A copy that holds only the problems at some indices."""
        rows = torch.arange(len(self.ids), device=self.ids.device).view(self.capacity, -1)[indices]
        rows = rows.flatten()
        return replace(
            self,
            ids=self.ids[rows],
            subject=self.subject[rows],
            stream=self.stream[rows],
            past=None if self.past is None else self.past.of_rows(rows),
            kept=self.kept[indices],
            weight=self.weight[indices],
            answers=[self.answers[index] for index in indices],
        )

    def logit_positions(self, block: int) -> LogitPositions:
        """Where logits are computed, filled up to a multiple of `block` positions."""
        size, on = self.shape.rows * self.shape.length, self.stream.device
        rows = [(n, n * size + at, t, s) for n, own in enumerate(self.answers) for at, t, s in own]
        problem, at, token, share = list(zip(*rows, strict=True)) or ((), (), (), ())
        first = torch.arange(self.capacity, device=on)[:, None] * size
        wanted = torch.cat([torch.tensor(at, device=on).long(), (self.kept + first).flatten()])
        filled = torch.zeros(rounded_up(len(wanted), block), dtype=torch.long, device=on)
        filled[: len(wanted)] = wanted
        return LogitPositions(
            problem=torch.tensor(problem, device=on).long(),
            token=torch.tensor(token, device=on).long(),
            share=torch.tensor(share, device=on).float(),
            at=filled,
        )


@torch.no_grad()
def make_batch(
    model: EditableModel,
    problems: Sequence[ValueProblem],
    shape: BatchShape,
    capacity: int,
    z_layer: int,
    *,
    suffix_only: bool,
) -> ProblemBatch:
    """A batch that holds some problems of one shape; everything that δ cannot change is computed.

    That is the stream up to the z layer and, with suffix_only, the keys and values above it of the
    tokens before the subject's last one. capacity: how many problems the batch can hold.
    """
    on, total = model.device, shape.past + shape.length
    rows = [row for problem in problems for row in problem.rows]
    empty = capacity * shape.rows - len(rows)
    ids = padded([*(row.read for row in rows), *[(0,)] * empty], on, longest=total)
    subject = torch.tensor([*(row.subject for row in rows), *[0] * empty], device=on)
    stream = model.run(model.embed(ids), 0, z_layer + 1)
    begin = subject if suffix_only else torch.zeros_like(subject)
    past = None
    if shape.past and z_layer + 1 < len(model.blocks):
        recorder = KvRecorder()
        model.run(stream[:, : shape.past], z_layer + 1, len(model.blocks), recorder)
        past = recorder.cache(begin)
    at = (begin[:, None] + torch.arange(shape.length, device=on)).clamp_max(total - 1)
    taken = stream.gather(1, at[:, :, None].expand(-1, -1, stream.shape[2])).float()
    unused = capacity - len(problems)
    kept = [_kept(problem, shape, suffix_only) for problem in problems]
    kept += [[(0, 0.0)] * shape.kept] * unused
    answers = [_answers(problem, shape, suffix_only) for problem in problems]
    return ProblemBatch(
        shape=shape,
        suffix_only=suffix_only,
        ids=ids,
        subject=subject,
        stream=taken,
        past=past,
        kept=torch.tensor([[at for at, _ in row] for row in kept], device=on, dtype=torch.long),
        weight=torch.tensor([[weight for _, weight in row] for row in kept], device=on),
        answers=[*answers, *([] for _ in range(unused))],
    )


def _answers(problem: ValueProblem, shape: BatchShape, suffix_only: bool) -> list[Answer]:
    return [
        (_position(problem, shape, row, at, suffix_only), token, share)
        for row, at, token, share in problem.answers
    ]


def _kept(problem: ValueProblem, shape: BatchShape, suffix_only: bool) -> list[tuple[int, float]]:
    return [
        (_position(problem, shape, row, at, suffix_only), weight)
        for row, at, weight in problem.kept
    ]


def _position(
    problem: ValueProblem, shape: BatchShape, row: int, at: int, suffix_only: bool
) -> int:
    """A position in the text of a row, counted among the tokens of its problem that are run."""
    return row * shape.length + at - (problem.rows[row].subject if suffix_only else 0)
