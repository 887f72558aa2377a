"""Greedy continuations up to the first token whose margin is too small.

Another program that computes with the same weights must give the same continuation. A serving
engine rounds differently than factd, so a close choice between two tokens may fall the other way.
The margin of a token is its lead over the next likely token, in nats. The continuation ends before
the first token whose margin is below the threshold, because everything after a close choice may
differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from factd.editor.models.generation import read
from factd.editor.models.model import EditableModel
from factd.editor.scoring.score import batches_by_length

MARGIN = 1.0  # nats between the most likely token and the next likely one
BATCH_TOKENS = 6_000
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"  # decoded if a token ends within a letter


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """The greedy continuation of a prompt, up to the first token below the margin."""

    text: str  # empty if the first token is below the margin
    logprobs: tuple[float, ...] = ()  # natural logarithms, of the tokens of `text`
    greedy: str = ""  # the whole greedy continuation, also after a token below the margin


@torch.inference_mode()
def continuations(
    model: EditableModel, prompts: Sequence[str], *, tokens: int, margin: float = MARGIN
) -> tuple[Continuation, ...]:
    """The continuation of every prompt, at most `tokens` tokens long. margin: nats."""
    ids = [tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    continued: list[Continuation] = [Continuation(text="")] * len(prompts)
    for batch in batches_by_length(ids, model.batch_sizes.get("probes", BATCH_TOKENS), equal=True):
        rows = _of_batch(model, [ids[i] for i in batch], tokens=tokens, margin=margin)
        for i, row in zip(batch, rows, strict=True):
            continued[i] = row
    return tuple(continued)


def _of_batch(
    model: EditableModel, rows: Sequence[tuple[int, ...]], *, tokens: int, margin: float
) -> list[Continuation]:
    """The continuations of rows of token ids that all have one length."""
    at = read(model, torch.tensor(rows, device=model.device))
    steps, logprobs, leads = [], [], []
    for number in range(tokens):
        top = at.logits.log_softmax(-1).topk(2)
        steps.append(top.indices[:, 0])
        logprobs.append(top.values[:, 0])
        leads.append(top.values[:, 0] - top.values[:, 1] >= margin)
        if number < tokens - 1:
            at = read(model, top.indices[:, :1], at.cache)
    # tokens of each row before the first that is below the margin
    within = torch.stack(leads, dim=1).cumprod(dim=1).sum(dim=1).tolist()
    new, values = torch.stack(steps, dim=1).tolist(), torch.stack(logprobs, dim=1).tolist()
    return [
        _continuation(model, row, count, tuple(logs[:count]))
        for row, logs, count in zip(new, values, within, strict=True)
    ]


def _continuation(
    model: EditableModel, ids: list[int], count: int, logprobs: tuple[float, ...]
) -> Continuation:
    """The continuation of a row of which the first `count` tokens keep the margin."""
    special = set(model.tokenizer.all_special_ids)
    ids = ids[: next((n for n, token in enumerate(ids) if token in special), len(ids))]
    text = str(model.tokenizer.decode(ids[:count])).rstrip(REPLACEMENT)
    visible = text if text.strip() else ""
    return Continuation(
        text=visible,
        logprobs=logprobs[: len(ids)] if visible else (),
        greedy=str(model.tokenizer.decode(ids)),
    )
