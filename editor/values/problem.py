"""The problem of finding a value: settings, and texts with wanted or fixed answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from factd.editor.edits import Edit
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import Row, row

ESSENCE = {  # language -> the essence prompt: what the model says a subject is must not change
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
    """How a value is found. It depends on these settings, the model and its edits only."""

    z_layer: int  # δ is added to the output of this block
    v_lr: float = 0.5  # Adam's step
    v_num_grad_steps: int = 25  # evaluations at most; there is one update fewer
    v_weight_decay: float = 0.5  # of ‖δ‖ / ‖z0‖²
    clamp_norm_factor: float = 0.75  # ‖δ‖ at most this times ‖z0‖
    kl_factor: float = 0.0625  # weight of the KL of the essence prompt
    keep_factor: float = 0.0625  # weight of the mean KL of the prompts of `Edit.keep`
    loss_threshold: float = 0.05  # a value has converged below this loss
    terminator: str = ""  # text behind every target, so that an answer also ends where it should
    whole_target: bool = False  # loss of the whole target instead of the mean over its tokens
    share_wordings: bool = False  # one δ for all wordings of a group's subject, target and language
    templates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # language -> prefixes
    essence: Mapping[str, str] = field(default_factory=lambda: ESSENCE)


@dataclass(frozen=True)
class ValueProblem:
    """The optimisation of one δ: its texts, what they must say, and what must stay."""

    rows: tuple[Row, ...]
    bare: tuple[int, ...]  # for each edit that shares the δ, the number of its bare row
    answers: tuple[tuple[int, int, int, float], ...]  # row, position, token, share of the loss
    kept: tuple[tuple[int, int, float], ...]  # row, position and weight of every KL


def edits_by_problem(edits: Sequence[Edit], *, shared: bool) -> list[list[int]]:
    """Indices into `edits` of the edits that have one δ in common.

    shared: edits with the same subject, target and language share one; otherwise each has its own.
    """
    if not shared:
        return [[i] for i in range(len(edits))]
    members: dict[tuple[str, str, str], list[int]] = {}
    for i, edit in enumerate(edits):
        members.setdefault((edit.subject, edit.target_new, edit.language), []).append(i)
    return list(members.values())


def make_problem(
    model: EditableModel, edits: Sequence[Edit], settings: ValueSettings
) -> ValueProblem:
    """The problem of the edits that share a δ.

    Its rows are the edits' prompts bare and behind prefixes, then the essence prompt and the
    prompts to keep of their subject. The prefixes are distributed over the edits.

    Raises: BadEdit: the tokenizer has no token for a subject or a target.
    """
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
    for text, weight in _kept_prompts(edits[0], settings):
        tokens = row(model.tokenizer, text, edits[0].subject)
        is_essence = text == settings.essence.get(edits[0].language)
        last = tokens.subject if is_essence else len(tokens.ids) - 1
        kept.append((len(rows), last, weight))
        rows.append(Row(tokens.ids[: last + 1], tokens.subject, last + 1))
    return ValueProblem(tuple(rows), tuple(bare), tuple(answers), tuple(kept))


def _kept_prompts(edit: Edit, settings: ValueSettings) -> list[tuple[str, float]]:
    """Prompts whose next token must stay the same, each with the weight of its KL."""
    essence = settings.essence.get(edit.language)
    prompts = [(essence, settings.kl_factor)] if essence else []
    if settings.keep_factor:
        prompts += [(text, settings.keep_factor / len(edit.keep)) for text in edit.keep]
    return prompts


@dataclass(frozen=True)
class ProblemRows:
    """The rows of several problems one after the other, with the positions of their losses.

    All tensors are int64, but the shares and weights are float32.
    """

    rows: tuple[Row, ...]
    problem: Tensor  # (rows,) number of the row's problem
    answer_row: Tensor  # (answers,) row of every target token,
    answer_at: Tensor  # its position,
    answer_token: Tensor  # the token
    answer_share: Tensor  # and its share of the loss
    kept_row: Tensor  # (kept,) row of every KL,
    kept_at: Tensor  # its position
    kept_weight: Tensor  # and its weight


def make_rows(model: EditableModel, edits: Sequence[Edit], settings: ValueSettings) -> ProblemRows:
    """The rows of the problems of some edits. Raises: BadEdit, as `make_problem`."""
    members = edits_by_problem(edits, shared=settings.share_wordings)
    problems = [make_problem(model, [edits[i] for i in chosen], settings) for chosen in members]
    first = [sum(len(p.rows) for p in problems[:n]) for n in range(len(problems))]
    pairs = list(zip(first, problems, strict=True))
    answers = [(f + r, at, token, share) for f, p in pairs for r, at, token, share in p.answers]
    kept = [(f + r, at, weight) for f, p in pairs for r, at, weight in p.kept]
    a, k = list(zip(*answers, strict=True)), list(zip(*kept, strict=True)) or [(), (), ()]
    on = model.device
    return ProblemRows(
        rows=tuple(row for problem in problems for row in problem.rows),
        problem=torch.tensor([n for n, p in enumerate(problems) for _ in p.rows], device=on),
        answer_row=torch.tensor(a[0], device=on),
        answer_at=torch.tensor(a[1], device=on),
        answer_token=torch.tensor(a[2], device=on),
        answer_share=torch.tensor(a[3], device=on),
        kept_row=torch.tensor(k[0], dtype=torch.long, device=on),
        kept_at=torch.tensor(k[1], dtype=torch.long, device=on),
        kept_weight=torch.tensor(k[2], dtype=torch.float32, device=on),
    )


def row_losses(
    model: EditableModel, rows: ProblemRows, top: Tensor, before: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The loss of every problem without weight decay, and the log-probabilities of the kept rows.

    MEMIT, arXiv:2210.07229, equation 16: the share-weighted -log p of the target tokens plus the
    weighted KL of the kept rows, in nats. The results are (problems,) and (kept, vocabulary),
    float32; the second has no gradient.

    top (rows, longest, d): the stream after the last block. before: the log-probabilities (kept,
    vocabulary) that the kept rows are to stay close to; None: those of `top`.
    """
    log = model.logits(top[rows.answer_row, rows.answer_at]).float().log_softmax(-1)
    nll = -log.gather(1, rows.answer_token[:, None])[:, 0] * rows.answer_share
    now = model.logits(top[rows.kept_row, rows.kept_at]).float().log_softmax(-1)
    divergence = (now.exp() * (now - (now.detach() if before is None else before))).sum(-1)
    loss = torch.zeros(int(rows.problem.max()) + 1, device=top.device)
    loss = loss.index_add(0, rows.problem[rows.answer_row], nll)
    loss = loss.index_add(0, rows.problem[rows.kept_row], divergence * rows.kept_weight)
    return loss, now.detach()
