"""Head corrections by gradient, with constants in place as they will act."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.errors import BadSettings
from factd.editor.heads.biases import added_to_heads
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import padded
from factd.editor.progress import Progress, silent
from factd.editor.values.problem import ProblemRows, ValueSettings, make_rows, row_losses

CHOICES = ("probes", "gradient", "random")
FORMS = ("correct", "as-released", "center-of-mass")
STILL_PROMPTS = 96  # prompts whose next token must stay the same, beside each batch


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """How heads are chosen and corrected.

    Raises: BadSettings: an unknown word, a number out of range.
    """

    count: int = 16  # heads that are corrected; 0: none
    choice: str = "probes"  # as published; or "gradient" (see `first_order_gains`), "random"
    form: str = "correct"  # "as-released"; "center-of-mass": ITI's directions instead of training
    lr: float = 0.1  # of a step, relative to the head's mean output norm
    epochs: int = 1
    batch_size: int = 32  # edits
    still_factor: float = 4.0  # weight of the KL of prompts about other facts, where they are given
    clamp_norm_factor: float = 0.75  # ‖δ‖ at most this times the head's mean output norm
    strength: float = 5.0  # of center-of-mass directions, in standard deviations
    seed: int = 0  # of the split, the order and random heads

    def __post_init__(self) -> None:
        if self.choice not in CHOICES or self.form not in FORMS:
            raise BadSettings(
                f"heads are chosen by {' or '.join(CHOICES)}, in the form {' or '.join(FORMS)}; "
                f"not {self.choice!r}, {self.form!r}"
            )
        if self.count < 0 or self.epochs < 1 or self.batch_size < 1 or not self.lr > 0:
            raise BadSettings(
                "the head count must be at least 0, epochs and batch size at least 1, lr above 0"
            )


def first_order_gains(
    model: EditableModel,
    edits: Sequence[Edit],
    norms: Tensor,
    settings: HeadSettings,
    values: ValueSettings,
    still: Sequence[str] = (),
) -> Tensor:
    """How much the loss falls, to first order, by a constant of the head's own mean norm.

    That is ‖∂loss/∂δ‖ times the norm, (layers, heads) float32, in nats. norms (layers, heads): the
    heads' mean output norms.
    """
    layers, count = norms.shape
    heads = [(layer, head) for layer in range(layers) for head in range(count)]
    share = torch.zeros(len(heads), model.head_weight(0).shape[-1], device=model.device)
    share.requires_grad_(True)
    batches = list(_batches(edits, replace(settings, epochs=1)))
    for number, batch in enumerate(batches):
        loss = _loss(model, batch, number, heads, share, settings, values, still)
        loss.backward()  # type: ignore[no-untyped-call]
    assert share.grad is not None
    gains: Tensor = share.grad.norm(dim=-1).view(layers, count).cpu() / len(batches) * norms
    return gains


def train_vectors(
    model: EditableModel,
    edits: Sequence[Edit],
    heads: Sequence[tuple[int, int]],
    norms: Tensor,
    settings: HeadSettings,
    values: ValueSettings,
    still: Sequence[str] = (),
    progress: Progress = silent,
) -> Tensor:
    """Corrections of heads by Adam on the loss of the values, (heads, d_head) float32.

    MEMAT, arXiv:2502.02173. norms (heads,): the heads' mean output norms; ‖δ_h‖ ≤ clamp_norm_factor
    · norm. still: prompts whose next token must stay the same.
    """
    released = settings.form == "as-released"
    if released:  # one norm clamps all heads, and a KL term without a gradient has no effect
        norms = norms[:1].expand_as(norms)
        values = replace(values, kl_factor=0.0, keep_factor=0.0)
    norms = norms.to(model.device)[:, None]
    width = model.head_weight(0).shape[-1]
    share = torch.zeros(len(heads), width, device=model.device, requires_grad=True)
    optimiser = torch.optim.Adam([share], lr=settings.lr / width**0.5)
    batches = list(_batches(edits, settings))
    for number, batch in enumerate(batches):
        loss = _loss(model, batch, number, heads, share * norms, settings, values, still)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            size = share.norm(dim=-1, keepdim=True).clamp_min(settings.clamp_norm_factor)
            share.mul_(settings.clamp_norm_factor / size)
        progress("head corrections", number + 1, len(batches))
    return (share * norms).detach()


def _batches(edits: Sequence[Edit], settings: HeadSettings) -> Iterator[list[Edit]]:
    generator = torch.Generator().manual_seed(settings.seed)
    for _ in range(settings.epochs):
        for part in torch.split(
            torch.randperm(len(edits), generator=generator), settings.batch_size
        ):
            yield [edits[i] for i in part.tolist()]


def _loss(
    model: EditableModel,
    batch: Sequence[Edit],
    number: int,
    heads: Sequence[tuple[int, int]],
    vectors: Tensor,
    settings: HeadSettings,
    values: ValueSettings,
    still: Sequence[str],
) -> Tensor:
    """The loss of the values over a batch plus the KL of the next `still` prompts; a scalar.

    number: the batch's; it decides which prompts are next.
    """
    released = settings.form == "as-released"
    rows = make_rows(model, batch, values)
    loss = _batch_loss(model, rows, heads, vectors, released=released)
    if still and settings.still_factor and not released:
        count = min(STILL_PROMPTS, len(still))
        part = [still[(number * STILL_PROMPTS + i) % len(still)] for i in range(count)]
        loss = loss + settings.still_factor * _divergence(model, part, heads, vectors)
    return loss


def _batch_loss(
    model: EditableModel,
    rows: ProblemRows,
    heads: Sequence[tuple[int, int]],
    vectors: Tensor,
    *,
    released: bool,
) -> Tensor:
    """The mean loss over the problems of a batch with the corrections in place, a scalar."""
    ids = [r.read for r in rows.rows]
    lowest = min(layer for layer, _ in heads)
    with torch.no_grad():
        stream = model.run(model.embed(padded(ids, model.device)), 0, lowest)
        _, before = row_losses(model, rows, model.run(stream, lowest, len(model.blocks)))
    with added_to_heads(model, heads, vectors, last_only=released):
        top = model.run(stream, lowest, len(model.blocks))
    loss, _ = row_losses(model, rows, top, before)
    return loss.mean()


def _divergence(
    model: EditableModel, prompts: Sequence[str], heads: Sequence[tuple[int, int]], vectors: Tensor
) -> Tensor:
    """The mean KL of the next token, with the corrections against without; a scalar in nats."""
    ids = [model.tokenizer(prompt)["input_ids"] for prompt in prompts]
    at = torch.arange(len(ids)), torch.tensor([len(row) - 1 for row in ids])
    stop, lowest = len(model.blocks), min(layer for layer, _ in heads)
    with torch.no_grad():
        stream = model.run(model.embed(padded(ids, model.device)), 0, lowest)
        before = model.logits(model.run(stream, lowest, stop)[at]).float().log_softmax(-1)
    with added_to_heads(model, heads, vectors):
        now = model.logits(model.run(stream, lowest, stop)[at]).float().log_softmax(-1)
    return (now.exp() * (now - before)).sum(-1).mean()
