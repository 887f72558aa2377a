"""Text from a model: greedy continuations and seeded samples, with cached keys and values."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from editor.model import EditableModel


@torch.inference_mode()
def continued(
    model: EditableModel,
    ids: Tensor,
    *,
    new_tokens: int,
    choose: Callable[[Tensor], Tensor],
    finished: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Rows of equal length (rows, length) with up to `new_tokens` more, (rows, length + n).

    choose: logits (rows, vocabulary) -> next tokens (rows,). finished: the new tokens so far (rows, n) -> (rows,) bool;
    stops when all rows are.
    """
    cache, step, text, name = None, ids, ids, model.family.cache
    for _ in range(new_tokens):
        out = model.model(input_ids=step, use_cache=True, logits_to_keep=1, **{name: cache})
        cache = getattr(out, name)
        step = choose(out.logits[:, -1].float())[:, None]
        text = torch.cat([text, step], dim=1)
        if finished is not None and bool(finished(text[:, ids.shape[1] :]).all()):
            break
    return text


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


def sample_rows(
    model: EditableModel, ids: Tensor, *, new_tokens: int, seed: int, temperature: float = 1.0
) -> Tensor:
    """Seeded continuations of rows of equal length, (rows, length + new_tokens)."""
    generator = torch.Generator(device="cpu").manual_seed(seed)

    def draw(logits: Tensor) -> Tensor:
        shares = (logits / temperature).softmax(-1).cpu()
        return torch.multinomial(shares, 1, generator=generator)[:, 0].to(ids.device)

    return continued(model, ids, new_tokens=new_tokens, choose=draw)
