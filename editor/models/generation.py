"""Text from a model: greedy continuations and seeded samples, with cached keys and values."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from factd.editor.models.model import EditableModel


@dataclass(frozen=True)
class CachedTexts:
    """Texts of one length that the model has read, with its cache and the next logits."""

    ids: Tensor  # (rows, length) int64, the tokens that were read last
    cache: Any  # the model's own cache of all tokens so far
    logits: Tensor  # (rows, vocabulary) float32, of the next token


@torch.inference_mode()
def read(model: EditableModel, ids: Tensor, cache: Any = None) -> CachedTexts:
    """Rows of equal length (rows, length) after the model has read them.

    cache: the cache of earlier tokens, which is used up.
    """
    name = model.family.cache
    out = model.model(input_ids=ids, use_cache=True, logits_to_keep=1, **{name: cache})
    return CachedTexts(ids, getattr(out, name), out.logits[:, -1].float())


def continued(
    model: EditableModel,
    ids: Tensor,
    *,
    new_tokens: int,
    choose: Callable[[Tensor], Tensor],
    written: Callable[[int], None] | None = None,
) -> Tensor:
    """Rows of equal length with `new_tokens` more tokens, (rows, length + new_tokens).

    choose: logits (rows, vocabulary) -> next tokens (rows,). written: is told after each step how
    many tokens all rows have.
    """
    texts = read(model, ids)
    for number in range(new_tokens):
        step = choose(texts.logits)[:, None]
        ids = torch.cat([ids, step], dim=1)
        if written is not None:
            written(ids.numel())
        if number < new_tokens - 1:
            texts = read(model, step, texts.cache)
    return ids


@torch.inference_mode()
def greedy_after(
    model: EditableModel,
    start: CachedTexts,
    *,
    new_tokens: int,
    stops: Tensor,
    breaks: Collection[int] = (),
) -> list[list[int]]:
    """The most likely next tokens of every row, up to and including the first one of `stops` (n,).

    There are `new_tokens` of them at most. Rows that have ended leave the batch. breaks: those of
    `stops` that end no row that begins with them, such as a line break before an answer.
    """
    ending = set(stops.tolist())
    answers: list[list[int]] = [[] for _ in start.ids]
    alive = list(range(len(start.ids)))
    texts = start
    for number in range(new_tokens):
        step = texts.logits.argmax(-1)
        for row, token in zip(alive, step.tolist(), strict=True):
            answers[row].append(token)
        going = [n for n, row in enumerate(alive) if not _ends(answers[row], ending, breaks)]
        if not going or number == new_tokens - 1:
            break
        if len(going) <= 0.8 * len(alive) and model.family.keeps_past:
            texts.cache.batch_select_indices(torch.tensor(going, device=step.device))
            alive, step = [alive[n] for n in going], step[going]
        texts = read(model, step[:, None], texts.cache)
    return [tokens[: _length(tokens, ending, breaks)] for tokens in answers]


def _ends(tokens: Sequence[int], stops: set[int], breaks: Collection[int]) -> bool:
    """Whether the last token ends its row."""
    return tokens[-1] in stops and not all(token in breaks for token in tokens)


def _length(tokens: Sequence[int], stops: set[int], breaks: Collection[int]) -> int:
    """The number of tokens up to and including the one that ends the row."""
    counts = range(1, len(tokens) + 1)
    return next((n for n in counts if _ends(tokens[:n], stops, breaks)), len(tokens))


def sample(
    model: EditableModel,
    starts: Sequence[str],
    *,
    new_tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> list[str]:
    """One seeded text for each start; the text includes its start."""
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
    """`count` seeded texts that the model writes itself, about as many from each start."""
    texts: list[str] = []
    for number, start in enumerate(starts):
        rows = count // len(starts) + (number < count % len(starts))
        ids = torch.tensor([model.tokenizer(start)["input_ids"]] * rows, device=model.device)
        if rows:
            drawn = sample_rows(model, ids, new_tokens=new_tokens, seed=seed * 1000 + number)
            texts += [model.tokenizer.decode(row, skip_special_tokens=True) for row in drawn]
    return texts


def sample_rows(
    model: EditableModel,
    ids: Tensor,
    *,
    new_tokens: int,
    seed: int,
    temperature: float = 1.0,
    written: Callable[[int], None] | None = None,
) -> Tensor:
    """Seeded continuations of rows of equal length, (rows, length + new_tokens) int64.

    written: see `continued`.
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)

    def draw(logits: Tensor) -> Tensor:
        shares = (logits / temperature).softmax(-1).cpu()
        return torch.multinomial(shares, 1, generator=generator)[:, 0].to(ids.device)

    return continued(model, ids, new_tokens=new_tokens, choose=draw, written=written)
