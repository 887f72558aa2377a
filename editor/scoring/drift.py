"""Drift: how far an edit moved held-out text, per language, against the base model.

The measures are explained in docs/explanation/editing.md §5.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import exp

import torch
from torch import Tensor

from factd.editor.deltas.delta import Delta, applied
from factd.editor.models.model import EditableModel
from factd.editor.models.tokens import padded
from factd.editor.scoring.score import batches_by_length

ROW_TOKENS = 128  # longest piece of a text that is read at once
BATCH_TOKENS = 4_000


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What an edit did to text that is not about its facts."""

    language: str
    perplexity_ratio: float  # edited / base; 1: as good as before
    kl: float  # mean over tokens of KL(base ‖ edited), nats
    tokens: int


@dataclass(frozen=True, kw_only=True)
class TextScores:
    """Scores of texts of one language by a model and by the base model.

    Each field holds one number per text: the sum over the tokens of the text.
    """

    tokens: tuple[int, ...]  # number of predicted tokens
    base_nll: tuple[float, ...]  # nats, of the base model
    nll: tuple[float, ...]  # nats, of the model
    kl: tuple[float, ...]  # KL(base ‖ model), nats

    @property
    def rise(self) -> float:
        """How much less likely the texts became, nats per token."""
        return (sum(self.nll) - sum(self.base_nll)) / sum(self.tokens)

    @property
    def divergence(self) -> float:
        """Mean KL(base ‖ model) per token, nats."""
        return sum(self.kl) / sum(self.tokens)


def drift(
    model: EditableModel, delta: Delta, texts: Mapping[str, Sequence[str]]
) -> tuple[Drift, ...]:
    """Perplexity ratio and mean KL on held-out texts, per language."""
    return tuple(
        Drift(
            language=language,
            perplexity_ratio=exp(scores.rise),
            kl=scores.divergence,
            tokens=sum(scores.tokens),
        )
        for language, scores in text_scores(model, delta, texts).items()
    )


def text_scores(
    model: EditableModel, delta: Delta | None, texts: Mapping[str, Sequence[str]]
) -> dict[str, TextScores]:
    """Scores of texts by the model with a delta (None: the base itself), by language.

    Texts of one token are left out.
    """
    return {
        language: _scores(model, partial(_edited, model, delta), _rows(model, held))
        for language, held in sorted(texts.items())
    }


def text_scores_against(
    base: EditableModel, model: EditableModel, texts: Mapping[str, Sequence[str]]
) -> dict[str, TextScores]:
    """Scores of texts by another model with the same tokenizer, by language."""
    return {
        language: _scores(base, lambda rows, _: _logs(model, rows), _rows(base, held))
        for language, held in sorted(texts.items())
    }


def _rows(model: EditableModel, texts: Sequence[str]) -> list[list[list[int]]]:
    """Token ids of every text in pieces of at most ROW_TOKENS; texts of one token are left out."""
    rows = []
    for text in texts:
        ids = model.tokenizer(text)["input_ids"]
        pieces = [ids[i : i + ROW_TOKENS] for i in range(0, len(ids), ROW_TOKENS)]
        rows.append([piece for piece in pieces if len(piece) > 1])
    return [pieces for pieces in rows if pieces]


# (rows of token ids, the base's log-probabilities of them) -> the model's log-probabilities
LogProbabilities = Callable[[Sequence[Sequence[int]], Tensor], Tensor]


def _edited(
    model: EditableModel, delta: Delta | None, rows: Sequence[Sequence[int]], before: Tensor
) -> Tensor:
    if delta is None:
        return before
    with applied(model, delta):
        return _logs(model, rows)


@torch.inference_mode()
def _scores(
    model: EditableModel, logs_after: LogProbabilities, texts: Sequence[Sequence[Sequence[int]]]
) -> TextScores:
    """Scores of texts, each in pieces of token ids. model: the base."""
    rows = [(number, piece) for number, pieces in enumerate(texts) for piece in pieces]
    sums = torch.zeros(len(texts), 4, dtype=torch.float64)  # tokens, base nll, nll, KL
    for batch in batches_by_length([piece for _, piece in rows], BATCH_TOKENS, equal=False):
        chosen = [rows[i][1] for i in batch]
        owner = torch.tensor([rows[i][0] for i in batch for _ in rows[i][1][1:]])
        target = torch.tensor([t for row in chosen for t in row[1:]], device=model.device)
        before = _logs(model, chosen)
        after = logs_after(chosen, before)
        each = torch.stack(
            [
                torch.ones(len(target), device=model.device),
                -before.gather(1, target[:, None])[:, 0],
                -after.gather(1, target[:, None])[:, 0],
                (before.exp() * (before - after)).sum(-1),
            ],
            dim=1,
        )
        sums.index_add_(0, owner, each.double().cpu())
    tokens, base, edited, kl = sums.T.tolist()
    return TextScores(
        tokens=tuple(map(int, tokens)), base_nll=tuple(base), nll=tuple(edited), kl=tuple(kl)
    )


def _logs(model: EditableModel, rows: Sequence[Sequence[int]]) -> Tensor:
    """Log-probabilities at every token but the last of each row, (tokens, vocabulary) float32."""
    hidden = model.run(model.embed(padded(rows, model.device)), 0, len(model.blocks))
    places = torch.tensor([(n, at) for n, row in enumerate(rows) for at in range(len(row) - 1)]).T
    logs: Tensor = model.logits(hidden[places[0], places[1]]).float().log_softmax(-1)
    return logs
