"""Drift: how far general text has moved, per language, against the base model (EDITING §5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor

from editor.delta import Delta, applied
from editor.model import EditableModel
from editor.score import by_length
from editor.tokens import padded

ROW_TOKENS = 128
BATCH_TOKENS = 4_000


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What an edit did to text that it has nothing to do with."""

    language: str
    perplexity_ratio: float  # edited / base; 1: as good as before
    kl: float  # mean over tokens of KL(base ‖ edited), nats
    tokens: int


def drift(
    model: EditableModel, delta: Delta, texts: Mapping[str, Sequence[str]]
) -> tuple[Drift, ...]:
    """Perplexity ratio and mean KL on held-out texts, per language."""
    found = []
    for language, held in sorted(texts.items()):
        rows = [row for text in held if len(row := model.tokenizer(text)["input_ids"]) > 1]
        rows = [row[i : i + ROW_TOKENS] for row in rows for i in range(0, len(row), ROW_TOKENS)]
        rows = [row for row in rows if len(row) > 1]
        found.append(_language(model, delta, language, rows))
    return tuple(found)


@torch.inference_mode()
def _language(
    model: EditableModel, delta: Delta, language: str, rows: Sequence[Sequence[int]]
) -> Drift:
    nll_base = nll_now = divergence = 0.0
    tokens = 0
    for batch in by_length(rows, BATCH_TOKENS, equal=False):
        chosen = [rows[i] for i in batch]
        target = torch.tensor([t for row in chosen for t in row[1:]], device=model.device)
        before = _logs(model, chosen)
        with applied(model, delta):
            now = _logs(model, chosen)
        nll_base += float(-before.gather(1, target[:, None]).sum())
        nll_now += float(-now.gather(1, target[:, None]).sum())
        divergence += float((before.exp() * (before - now)).sum())
        tokens += len(target)
    return Drift(
        language=language,
        perplexity_ratio=exp((nll_now - nll_base) / tokens),
        kl=divergence / tokens,
        tokens=tokens,
    )


def _logs(model: EditableModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Log-probabilities at every token but the last of each row, (tokens, vocabulary)."""
    hidden = model.run(model.embed(padded(rows, model.device)), 0, len(model.blocks))
    places = torch.tensor([(n, at) for n, row in enumerate(rows) for at in range(len(row) - 1)]).T
    found: Tensor = model.logits(hidden[places[0], places[1]]).float().log_softmax(-1)
    return found
