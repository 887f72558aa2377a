"""Target values z: what the residual stream at the subject's last token must be for the model to say the target.

MEMIT, arXiv:2210.07229, equation 16, in the form of the released code (EDITING §1). The edits of a group (one fact version:
its languages and wordings) are optimised in one batch, each row on its own: blocks up to the z layer run once, only the
blocks above it run again per step, logits are taken only where they are asked for, and what has converged leaves
the batch. A value depends on the base model, the group's edits, the templates and the settings, never on what other groups
are computed beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from editor.edits import Edit
from editor.errors import SingularSystem
from editor.model import EditableModel
from editor.tokens import Row, padded, row

ESSENCE = {
    "en": "{} is a",
    "es": "{} es un",
    "ca": "{} és un",
    "fr": "{} est un",
    "de": "{} ist ein",
    "it": "{} è un",
    "pt": "{} é um",
}


@dataclass(frozen=True, kw_only=True)
class ValueSettings:
    """How a value is found; with the templates, everything besides model and edit that it depends on."""

    z_layer: int
    v_lr: float = 0.5  # Adam's step
    v_num_grad_steps: int = 25  # evaluations at most; one update fewer
    v_weight_decay: float = 0.5
    clamp_norm_factor: float = 0.75  # ‖δ‖ at most this times ‖z0‖
    kl_factor: float = 0.0625  # weight of the essence row's KL
    keep_factor: float = 0.0625  # weight of the mean KL of the rows of `Edit.keep`
    loss_threshold: float = 0.05  # converged below
    terminator: str = ""  # text behind every target, so that an answer also ends where it should
    whole_target: bool = False  # the loss of the whole target instead of the mean over its tokens
    share_wordings: bool = False  # one δ for all wordings of a group's subject, target and language
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # prefixes per language
    essence: Mapping[str, str] = field(default_factory=lambda: ESSENCE)


@dataclass(frozen=True)
class Rows:
    """The rows of a group. Slots are the δs; several edits share one where wordings are shared."""

    rows: tuple[Row, ...]
    slot: Tensor  # (rows,) which δ is added
    bare: tuple[int, ...]  # per edit, its bare row
    edit_slot: Tensor  # (edits,)
    answer_row: Tensor  # (answers,) row, position and token of every target token, and its share of the loss
    answer_at: Tensor
    answer_token: Tensor
    answer_share: Tensor
    kept_row: Tensor  # (kept,) row and position of every KL, and its weight
    kept_at: Tensor
    kept_weight: Tensor


def slots_of(edits: Sequence[Edit], *, shared: bool) -> list[list[int]]:
    """Which edits have one δ in common: indices into `edits`."""
    if not shared:
        return [[i] for i in range(len(edits))]
    found: dict[tuple[str, str, str], list[int]] = {}
    for i, edit in enumerate(edits):
        found.setdefault((edit.subject, edit.target_new, edit.language), []).append(i)
    return list(found.values())


def make_rows(model: EditableModel, edits: Sequence[Edit], settings: ValueSettings) -> Rows:
    """Template rows, essence rows and rows to keep of a group's edits."""
    rows: list[Row] = []
    slot: list[int] = []
    bare = [0] * len(edits)
    answers: list[tuple[int, int, int, float]] = []
    kept: list[tuple[int, int, float]] = []
    edit_slot = [0] * len(edits)
    for number, members in enumerate(slots_of(edits, shared=settings.share_wordings)):
        first = len(rows)
        for place, index in enumerate(members):
            edit, edit_slot[index], bare[index] = edits[index], number, len(rows)
            prefixes = settings.templates.get(edit.language, ())[place :: len(members)]
            target = edit.target_new + settings.terminator
            rows += [
                row(model.tokenizer, edit.prompt, edit.subject, target, p) for p in ("", *prefixes)
            ]
        count = len(rows) - first
        for index in range(first, len(rows)):
            ids, start = rows[index].ids, rows[index].target
            share = 1.0 / (count * (1 if settings.whole_target else len(ids) - start))
            answers += [(index, at - 1, ids[at], share) for at in range(start, len(ids))]
        for text, weight in _kept(edits[members[0]], settings):
            found = row(model.tokenizer, text, edits[members[0]].subject)
            essence = text == settings.essence.get(edits[members[0]].language)
            kept.append((len(rows), found.subject if essence else len(found.ids) - 1, weight))
            rows.append(found)
        slot += [number] * (len(rows) - first)
    a, k = list(zip(*answers, strict=True)), list(zip(*kept, strict=True)) or [(), (), ()]
    on = model.device
    return Rows(
        rows=tuple(rows),
        slot=torch.tensor(slot, device=on),
        bare=tuple(bare),
        edit_slot=torch.tensor(edit_slot, device=on),
        answer_row=torch.tensor(a[0], device=on),
        answer_at=torch.tensor(a[1], device=on),
        answer_token=torch.tensor(a[2], device=on),
        answer_share=torch.tensor(a[3], device=on),
        kept_row=torch.tensor(k[0], dtype=torch.long, device=on),
        kept_at=torch.tensor(k[1], dtype=torch.long, device=on),
        kept_weight=torch.tensor(k[2], dtype=torch.float32, device=on),
    )


def _kept(edit: Edit, settings: ValueSettings) -> list[tuple[str, float]]:
    """Prompts whose next-token answers must stay, with the weights of their KL."""
    essence = settings.essence.get(edit.language)
    found = [(essence, settings.kl_factor)] if essence else []
    if settings.keep_factor:
        found += [(text, settings.keep_factor / len(edit.keep)) for text in edit.keep]
    return found


@dataclass(frozen=True)
class Bucket:
    """Rows of a group that are run together: the short ones and the long ones, so that little is padded."""

    index: Tensor  # (n,) numbers of the rows, rising
    subject: Tensor  # (n,) position of the subject's last token
    hidden: Tensor  # (n, longest, d) float32, the residual stream after the z layer


@torch.no_grad()
def make_buckets(model: EditableModel, rows: Sequence[Row], z_layer: int) -> list[Bucket]:
    """Rows run up to the z layer, once; targets' last tokens are not read."""
    ids = [r.ids[:-1] if r.target < len(r.ids) else r.ids for r in rows]
    middle = (min(map(len, ids)) + max(map(len, ids))) / 2
    halves = [[i for i, x in enumerate(ids) if (len(x) > middle) is long] for long in (False, True)]
    found = []
    for chosen in filter(None, halves):
        hidden = model.run(
            model.embed(padded([ids[i] for i in chosen], model.device)), 0, z_layer + 1
        )
        places = torch.tensor([[i, rows[i].subject] for i in chosen], device=model.device)
        found.append(Bucket(places[:, 0], places[:, 1], hidden.float()))
    return found


def group_values(model: EditableModel, edits: Sequence[Edit], settings: ValueSettings) -> Tensor:
    """The value z of every edit of a group, (edits, d), float32.

    Raises: SingularSystem: a loss is not a finite number.
    """
    rows = make_rows(model, edits, settings)
    buckets = make_buckets(model, rows.rows, settings.z_layer)
    at_subject = torch.zeros(len(rows.rows), buckets[0].hidden.shape[-1], device=model.device)
    for bucket in buckets:
        at_subject[bucket.index] = bucket.hidden[torch.arange(len(bucket.index)), bucket.subject]
    bare = torch.tensor(rows.bare, device=model.device)
    first = torch.stack(
        [bare[rows.edit_slot == s][0] for s in range(int(rows.edit_slot.max()) + 1)]
    )
    delta = _optimise(model, rows, buckets, at_subject[first].norm(dim=-1), settings)
    return at_subject[bare] + delta[rows.edit_slot]


@dataclass
class _Adam:
    """Adam on the δs, each row on its own, as torch's with its defaults."""

    lr: float
    mean: Tensor
    square: Tensor
    steps: int = 0

    def update(self, gradient: Tensor) -> Tensor:
        """What is subtracted."""
        self.steps += 1
        self.mean.mul_(0.9).add_(gradient, alpha=0.1)
        self.square.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        root = (self.square / (1 - 0.999**self.steps)).sqrt() + 1e-8
        return self.lr * self.mean / (1 - 0.9**self.steps) / root


def _optimise(
    model: EditableModel,
    rows: Rows,
    buckets: Sequence[Bucket],
    norm: Tensor,
    settings: ValueSettings,
) -> Tensor:
    """δ per slot, (slots, d). norm is ‖z0‖ per slot."""
    delta = torch.zeros(len(norm), buckets[0].hidden.shape[-1], device=norm.device)
    adam = _Adam(settings.v_lr, torch.zeros_like(delta), torch.zeros_like(delta))
    active = torch.ones(len(norm), dtype=torch.bool, device=norm.device)
    before = None
    for step in range(settings.v_num_grad_steps):
        here = delta.clone().requires_grad_(True)
        loss, now = _loss(model, rows, buckets, here, active, before, norm, settings)
        before = now if before is None else before
        if not torch.isfinite(loss.detach()[active]).all():
            raise SingularSystem(
                "a loss is not finite; are the weights finite and the learning rate sane?"
            )
        active = active & (loss.detach() >= settings.loss_threshold)
        if step == settings.v_num_grad_steps - 1 or not active.any():
            break
        (gradient,) = torch.autograd.grad(loss.sum(), here)
        moved = delta - adam.update(gradient)
        limit = settings.clamp_norm_factor * norm
        size = moved.norm(dim=-1)
        moved = torch.where((size > limit)[:, None], moved * (limit / size)[:, None], moved)
        delta = torch.where(active[:, None], moved, delta)
    return delta


def _loss(
    model: EditableModel,
    rows: Rows,
    buckets: Sequence[Bucket],
    delta: Tensor,
    active: Tensor,
    before: Tensor | None,
    norm: Tensor,
    settings: ValueSettings,
) -> tuple[Tensor, Tensor]:
    """The loss per slot (0 where inactive), and the log-probabilities of the kept rows now (read where before is None).

    Only rows of active slots are run. before: the kept rows' log-probabilities at δ = 0, (kept, vocabulary).
    """
    decay = settings.v_weight_decay * _norm(delta) / norm**2
    loss = torch.where(active, decay, torch.zeros_like(decay))
    seen = before
    for bucket in buckets:
        if not active[rows.slot[bucket.index]].any():
            continue
        place, top = _run_bucket(model, rows, bucket, delta, active, settings.z_layer)
        found, seen = row_losses(model, rows, place, top, before, seen)
        loss = loss + found
    assert seen is not None  # the first step runs every row
    return loss, seen


def row_losses(
    model: EditableModel,
    rows: Rows,
    place: Tensor,
    top: Tensor,
    before: Tensor | None = None,
    seen: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """What the rows that were run add to the loss, (slots,), and the log-probabilities of the kept rows, (kept, vocabulary).

    place (rows,): where a row is among those run, -1: it is not. top (run, longest, d): the stream after the last block.
    before: the kept rows' log-probabilities to stay close to; None: they are read now, on top of those `seen`.
    """
    answer, kept = place[rows.answer_row] >= 0, place[rows.kept_row] >= 0
    at = top[place[rows.answer_row[answer]], rows.answer_at[answer]]
    log = model.logits(at).float().log_softmax(-1)
    nll = -log.gather(1, rows.answer_token[answer][:, None])[:, 0]
    loss = torch.zeros(int(rows.edit_slot.max()) + 1, device=top.device).index_add(
        0, rows.slot[rows.answer_row[answer]], nll * rows.answer_share[answer]
    )
    now = model.logits(top[place[rows.kept_row[kept]], rows.kept_at[kept]]).float().log_softmax(-1)
    if before is None:
        seen = torch.zeros(len(kept), now.shape[-1], device=now.device) if seen is None else seen
        seen[kept] = now.detach()
    old = seen if before is None else before
    assert old is not None
    divergence = (now.exp() * (now - old[kept])).sum(-1) * rows.kept_weight[kept]
    return loss.index_add(0, rows.slot[rows.kept_row[kept]], divergence), old


def _run_bucket(
    model: EditableModel, rows: Rows, bucket: Bucket, delta: Tensor, active: Tensor, z_layer: int
) -> tuple[Tensor, Tensor]:
    """Where each row of the group is among those run (-1: it is not), and the stream after the last block."""
    chosen = active[rows.slot[bucket.index]].nonzero()[:, 0]
    place = torch.full_like(rows.slot, -1)
    place[bucket.index[chosen]] = torch.arange(len(chosen), device=place.device)
    at = (torch.arange(len(chosen), device=place.device), bucket.subject[chosen])
    stream = bucket.hidden[chosen].index_put(
        at, delta[rows.slot[bucket.index[chosen]]], accumulate=True
    )
    return place, model.run(stream.to(model.weight(0).dtype), z_layer + 1, len(model.blocks))


def _norm(delta: Tensor) -> Tensor:
    """‖δ‖ per slot, with gradient 0 at δ = 0."""
    found: Tensor = torch.linalg.vector_norm(delta, dim=-1)
    return found
