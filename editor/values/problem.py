"""What target values are found from: settings, and the rows of texts whose answers are wanted or must stay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import Row, row

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
class Slot:
    """One δ: the rows that it is added to, what is wanted of them and what must stay."""

    rows: tuple[Row, ...]
    bare: tuple[int, ...]  # per edit that shares the δ, its bare row
    answers: tuple[tuple[int, int, int, float], ...]  # row, position, token, share of the loss
    kept: tuple[tuple[int, int, float], ...]  # row and position of every KL, and its weight


def slots_of(edits: Sequence[Edit], *, shared: bool) -> list[list[int]]:
    """Which edits have one δ in common: indices into `edits`."""
    if not shared:
        return [[i] for i in range(len(edits))]
    found: dict[tuple[str, str, str], list[int]] = {}
    for i, edit in enumerate(edits):
        found.setdefault((edit.subject, edit.target_new, edit.language), []).append(i)
    return list(found.values())


def make_slot(model: EditableModel, edits: Sequence[Edit], settings: ValueSettings) -> Slot:
    """Template rows of the edits that share a δ, then the essence row and the rows to keep of their subject."""
    rows: list[Row] = []
    bare = []
    for place, edit in enumerate(edits):
        bare.append(len(rows))
        prefixes = settings.templates.get(edit.language, ())[place :: len(edits)]
        target = edit.target_new + settings.terminator
        rows += [
            row(model.tokenizer, edit.prompt, edit.subject, target, p) for p in ("", *prefixes)
        ]
    answers: list[tuple[int, int, int, float]] = []
    for index, (ids, start) in enumerate((r.ids, r.target) for r in rows):
        share = 1.0 / (len(rows) * (1 if settings.whole_target else len(ids) - start))
        answers += [(index, at - 1, ids[at], share) for at in range(start, len(ids))]
    kept: list[tuple[int, int, float]] = []
    for text, weight in _kept(edits[0], settings):
        found = row(model.tokenizer, text, edits[0].subject)
        essence = text == settings.essence.get(edits[0].language)
        last = found.subject if essence else len(found.ids) - 1
        kept.append((len(rows), last, weight))
        rows.append(Row(found.ids[: last + 1], found.subject, last + 1))
    return Slot(tuple(rows), tuple(bare), tuple(answers), tuple(kept))


def _kept(edit: Edit, settings: ValueSettings) -> list[tuple[str, float]]:
    """Prompts whose next-token answers must stay, with the weights of their KL."""
    essence = settings.essence.get(edit.language)
    found = [(essence, settings.kl_factor)] if essence else []
    if settings.keep_factor:
        found += [(text, settings.keep_factor / len(edit.keep)) for text in edit.keep]
    return found


@dataclass(frozen=True)
class Rows:
    """The rows of several δs end to end."""

    rows: tuple[Row, ...]
    slot: Tensor  # (rows,) which δ's
    answer_row: Tensor  # (answers,) row, position and token of every target token, and its share of the loss
    answer_at: Tensor
    answer_token: Tensor
    answer_share: Tensor
    kept_row: Tensor  # (kept,) row and position of every KL, and its weight
    kept_at: Tensor
    kept_weight: Tensor


def make_rows(model: EditableModel, edits: Sequence[Edit], settings: ValueSettings) -> Rows:
    """The rows of several edits as tensors."""
    members = slots_of(edits, shared=settings.share_wordings)
    slots = [make_slot(model, [edits[i] for i in chosen], settings) for chosen in members]
    first = [sum(len(s.rows) for s in slots[:n]) for n in range(len(slots))]
    pairs = list(zip(first, slots, strict=True))
    answers = [(f + r, at, token, share) for f, s in pairs for r, at, token, share in s.answers]
    kept = [(f + r, at, weight) for f, s in pairs for r, at, weight in s.kept]
    a, k = list(zip(*answers, strict=True)), list(zip(*kept, strict=True)) or [(), (), ()]
    on = model.device
    return Rows(
        rows=tuple(row for slot in slots for row in slot.rows),
        slot=torch.tensor([n for n, s in enumerate(slots) for _ in s.rows], device=on),
        answer_row=torch.tensor(a[0], device=on),
        answer_at=torch.tensor(a[1], device=on),
        answer_token=torch.tensor(a[2], device=on),
        answer_share=torch.tensor(a[3], device=on),
        kept_row=torch.tensor(k[0], dtype=torch.long, device=on),
        kept_at=torch.tensor(k[1], dtype=torch.long, device=on),
        kept_weight=torch.tensor(k[2], dtype=torch.float32, device=on),
    )


def row_losses(
    model: EditableModel, rows: Rows, top: Tensor, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The loss of every δ without its decay, (slots,), and the log-probabilities of the kept rows, (kept, vocabulary).

    top (rows, longest, d): the stream after the last block. before: the kept rows' log-probabilities to stay close to;
    None: those that are found now.
    """
    log = model.logits(top[rows.answer_row, rows.answer_at]).float().log_softmax(-1)
    nll = -log.gather(1, rows.answer_token[:, None])[:, 0] * rows.answer_share
    now = model.logits(top[rows.kept_row, rows.kept_at]).float().log_softmax(-1)
    divergence = (now.exp() * (now - (now.detach() if before is None else before))).sum(-1)
    loss = torch.zeros(int(rows.slot.max()) + 1, device=top.device)
    loss = loss.index_add(0, rows.slot[rows.answer_row], nll)
    return loss.index_add(0, rows.slot[rows.kept_row], divergence * rows.kept_weight), now.detach()
