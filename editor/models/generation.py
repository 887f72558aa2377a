"""Text from a model: greedy continuations and seeded samples, with cached keys and values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from factd.editor.models.model import EditableModel


@dataclass(frozen=True)
class Read:
    """Texts of one length that the model has read, and what it expects next."""

    ids: Tensor  # (rows, length)
    cache: Any  # the model's own cache of them
    logits: Tensor  # (rows, vocabulary) float32, of the next token


@torch.inference_mode()
def read(model: EditableModel, ids: Tensor, before: Any = None) -> Read:
    """Read rows of equal length (rows, length), behind a cache of earlier tokens, which is used up."""
    name = model.family.cache
    out = model.model(input_ids=ids, use_cache=True, logits_to_keep=1, **{name: before})
    return Read(ids, getattr(out, name), out.logits[:, -1].float())


def continued(
    model: EditableModel,
    ids: Tensor,
    *,
    new_tokens: int,
    choose: Callable[[Tensor], Tensor],
) -> Tensor:
    """Rows of equal length (rows, length) with `new_tokens` more. choose: logits (rows, vocabulary) -> next tokens (rows,)."""
    at = read(model, ids)
    for number in range(new_tokens):
        step = choose(at.logits)[:, None]
        ids = torch.cat([ids, step], dim=1)
        if number < new_tokens - 1:
            at = read(model, step, at.cache)
    return ids


@torch.inference_mode()
def greedy_after(
    model: EditableModel, start: Read, *, new_tokens: int, stops: Tensor
) -> list[list[int]]:
    """The most likely next tokens of every row, up to and with the first of `stops`; rows that have ended leave the batch."""
    found: list[list[int]] = [[] for _ in start.ids]
    alive = list(range(len(start.ids)))
    at = start
    for number in range(new_tokens):
        step = at.logits.argmax(-1)
        ended = torch.isin(step, stops).tolist()
        for row, token in zip(alive, step.tolist(), strict=True):
            found[row].append(token)
        going = [n for n, end in enumerate(ended) if not end]
        if not going or number == new_tokens - 1:
            break
        if len(going) <= 0.8 * len(alive) and model.family.keeps_past:
            at.cache.batch_select_indices(torch.tensor(going, device=step.device))
            alive, step = [alive[n] for n in going], step[going]
        at = read(model, step[:, None], at.cache)
    return [tokens[: _end(tokens, set(stops.tolist()))] for tokens in found]


def _end(tokens: Sequence[int], stops: set[int]) -> int:
    return next((n + 1 for n, token in enumerate(tokens) if token in stops), len(tokens))


def sample(
    model: EditableModel,
    starts: Sequence[str],
    *,
    new_tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> list[str]:
    """One seeded continuation of every start, start included."""
    return [
        model.tokenizer.decode(row, skip_special_tokens=True)
        for index, start in enumerate(starts)
        for row in sample_rows(
            model,
            torch.tensor([model.tokenizer(start)["input_ids"]], device=model.device),
            new_tokens=new_tokens,
            seed=seed * 1000 + index,
            temperature=temperature,
        )
    ]


def own_texts(
    model: EditableModel, starts: Sequence[str], *, count: int, new_tokens: int, seed: int
) -> list[str]:
    """Seeded texts of the model's own, about as many from each start."""
    found: list[str] = []
    for number, start in enumerate(starts):
        rows = count // len(starts) + (number < count % len(starts))
        ids = torch.tensor([model.tokenizer(start)["input_ids"]] * rows, device=model.device)
        if rows:
            drawn = sample_rows(model, ids, new_tokens=new_tokens, seed=seed * 1000 + number)
            found += [model.tokenizer.decode(row, skip_special_tokens=True) for row in drawn]
    return found


def sample_rows(
    model: EditableModel, ids: Tensor, *, new_tokens: int, seed: int, temperature: float = 1.0
) -> Tensor:
    """Seeded continuations of rows of equal length, (rows, length + new_tokens)."""
    generator = torch.Generator(device="cpu").manual_seed(seed)

    def draw(logits: Tensor) -> Tensor:
        shares = (logits / temperature).softmax(-1).cpu()
        return torch.multinomial(shares, 1, generator=generator)[:, 0].to(ids.device)

    return continued(model, ids, new_tokens=new_tokens, choose=draw)
