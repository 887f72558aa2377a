"""Continuations that a model is certain of: what another program that computes with the same weights must say too.

A serving engine rounds otherwise than we do, so that a close choice between two tokens may fall the other way. Only tokens
that lead the next likely one by a margin are told, and what comes after the first close choice is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from factd.editor.models.generation import read
from factd.editor.models.model import EditableModel
from factd.editor.scoring.score import batches_by_length

MARGIN = 1.0  # nats between the most likely token and the next
BATCH_TOKENS = 6_000
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # where a token ends within a letter


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """The greedy continuation of a prompt, as far as the model is certain of it."""

    text: str  # empty: it is not even certain of the first token
    logprobs: tuple[float, ...] = ()  # of its tokens, natural
    greedy: str = ""  # all of it, also what the model is not certain of


@torch.inference_mode()
def continuations(
    model: EditableModel, prompts: Sequence[str], *, tokens: int, margin: float = MARGIN
) -> tuple[Continuation, ...]:
    """Of every prompt the greedy continuation by at most `tokens` tokens, up to the first that does not lead by `margin`."""
    ids = [tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    found: list[Continuation] = [Continuation(text="")] * len(prompts)
    for batch in batches_by_length(ids, model.sizes.get("probes", BATCH_TOKENS), equal=True):
        rows = _of_batch(model, [ids[i] for i in batch], tokens=tokens, margin=margin)
        for i, row in zip(batch, rows, strict=True):
            found[i] = row
    return tuple(found)


def _of_batch(
    model: EditableModel, rows: Sequence[tuple[int, ...]], *, tokens: int, margin: float
) -> list[Continuation]:
    """Rows of equal length."""
    at = read(model, torch.tensor(rows, device=model.device))
    steps, logprobs, leads = [], [], []
    for number in range(tokens):
        top = at.logits.log_softmax(-1).topk(2)
        steps.append(top.indices[:, 0])
        logprobs.append(top.values[:, 0])
        leads.append(top.values[:, 0] - top.values[:, 1] >= margin)
        if number < tokens - 1:
            at = read(model, top.indices[:, :1], at.cache)
    certain = torch.stack(leads, dim=1).cumprod(dim=1).sum(dim=1).tolist()  # tokens of each row
    new, values = torch.stack(steps, dim=1).tolist(), torch.stack(logprobs, dim=1).tolist()
    return [
        _said(model, row, count, tuple(logs[:count]))
        for row, logs, count in zip(new, values, certain, strict=True)
    ]


def _said(
    model: EditableModel, ids: list[int], count: int, logprobs: tuple[float, ...]
) -> Continuation:
    """Tokens of which the first `count` are certain, up to the first that is no text."""
    special = set(model.tokenizer.all_special_ids)
    ids = ids[: next((n for n, token in enumerate(ids) if token in special), len(ids))]
    text = str(model.tokenizer.decode(ids[:count])).rstrip(REPLACEMENT)
    known = text if text.strip() else ""
    return Continuation(
        text=known,
        logprobs=logprobs[: len(ids)] if known else (),
        greedy=str(model.tokenizer.decode(ids)),
    )
