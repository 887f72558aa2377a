"""A model's belief: its commonest answer to several wordings of one question, and how common it is.

Each wording is answered once greedily and several times by sampling.
"""

import hashlib
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from factd.editor.models.generation import read
from factd.editor.models.model import EditableModel
from factd.editor.scoring.judge import normalised
from factd.editor.scoring.score import BATCH_TOKENS, batches_by_length, greedy_answers

NEW_TOKENS = 16
END = re.compile(r"(\w{3})(?:[.!?;]\s|\n)")
ASIDE = re.compile(r",\s+(?=[a-zà-öø-ÿ])")  # ", which is": text about the answer; not "Rome, Italy"


@dataclass(frozen=True, kw_only=True)
class ModelBelief:
    """The commonest answer to a question, and how common it is."""

    answer: str  # normalised; "" if the model gave no answer
    certainty: float  # share of all decodings that give this answer, 0 to 1
    agreement: float  # share of the wordings whose greedy answer it is, 0 to 1
    asked: int  # number of decodings
    others: dict[str, float]  # the three next common answers -> their share


def beliefs(
    model: EditableModel, questions: Sequence[Sequence[str]], *, samples: int, seed: int = 0
) -> list[ModelBelief]:
    """The model's belief about each question. A question is a sequence of wordings.

    Every wording gets one greedy answer and `samples` sampled ones.
    """
    prompts = list(dict.fromkeys(prompt for wordings in questions for prompt in wordings))
    best = dict(zip(prompts, greedy_answers(model, prompts, new_tokens=NEW_TOKENS), strict=True))
    rows = [prompt for prompt in prompts for _ in range(samples)]
    seeds = [f"{seed} {number} {prompt}" for prompt in prompts for number in range(samples)]
    drawn: dict[str, list[str]] = {prompt: [] for prompt in prompts}
    for prompt, text in zip(rows, sample_answers(model, rows, seeds), strict=True):
        drawn[prompt].append(text)
    return [belief_from([best[p] for p in w], [t for p in w for t in drawn[p]]) for w in questions]


def belief_from(best: Sequence[str], drawn: Sequence[str]) -> ModelBelief:
    """The belief that follows from answers.

    best: greedy ones, one per wording; drawn: sampled ones.

    Of equally common answers, a greedy one is taken.
    """
    texts = [first_sentence(text) for text in (*best, *drawn)]
    counts = Counter(texts)
    order = sorted(counts, key=lambda answer: (-counts[answer], texts.index(answer)))
    answer = order[0] if order else ""
    greedy = texts[: len(best)]
    return ModelBelief(
        answer=answer,
        certainty=counts[answer] / len(texts) if texts else 0.0,
        agreement=greedy.count(answer) / len(greedy) if greedy else 0.0,
        asked=len(texts),
        others={other: round(counts[other] / len(texts), 4) for other in order[1:4]},
    )


def first_sentence(text: str) -> str:
    """The first sentence of an answer, normalised, without what a comma and a small letter begin.

    "yen, which is …" and "yen, the currency …" are one answer. The stop in "St. Martin" does not
    end a sentence.
    """
    end = END.search(text)
    return normalised(ASIDE.split(text[: end.end(1)] if end else text)[0])


@torch.inference_mode()
def sample_answers(
    model: EditableModel,
    prompts: Sequence[str],
    seeds: Sequence[str],
    *,
    new_tokens: int = NEW_TOKENS,
) -> list[str]:
    """One continuation of every prompt, sampled at temperature 1.

    It depends on the prompt and its seed only, not on the other prompts of the batch.
    """
    rows = [tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    texts = [""] * len(prompts)
    for batch in batches_by_length(rows, BATCH_TOKENS, equal=True):
        uniform = torch.tensor([_uniform(seeds[i], new_tokens) for i in batch])
        ids = torch.tensor([rows[i] for i in batch], device=model.device)
        for i, tokens in zip(batch, _drawn(model, ids, uniform).tolist(), strict=True):
            texts[i] = model.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    return texts


def _uniform(seed: str, count: int) -> list[float]:
    """Seeded numbers between 0 and 1."""
    source = random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
    return [source.random() for _ in range(count)]


def _drawn(model: EditableModel, ids: Tensor, uniform: Tensor) -> Tensor:
    """Sampled tokens (rows, steps): the inverse distribution at uniform (rows, steps)."""
    at, steps = read(model, ids), []
    for number in range(uniform.shape[1]):
        below = at.logits.softmax(-1).cumsum(-1)
        wanted = uniform[:, number : number + 1].to(below.device) * below[:, -1:]
        steps.append(torch.searchsorted(below, wanted).clamp_max(below.shape[1] - 1))
        if number + 1 < uniform.shape[1]:
            at = read(model, steps[-1], at.cache)
    return torch.cat(steps, 1)
