"""What a model believes: its answers to several wordings of one question, greedy and sampled, and how much they agree."""

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
from factd.editor.scoring.score import BATCH_TOKENS, batches_by_length, greedy_answers, normalised

NEW_TOKENS = 16
END = re.compile(r"(\w{3})(?:[.!?;]\s|\n)")


@dataclass(frozen=True, kw_only=True)
class ModelBelief:
    """The commonest answer and how common it is."""

    answer: str  # normalised; "": nothing was said
    certainty: float  # its share of all decodings, 0 to 1
    agreement: float  # share of the wordings whose greedy answer it is
    asked: int  # decodings
    others: dict[str, float]  # the next three answers and their shares


def beliefs(
    model: EditableModel, questions: Sequence[Sequence[str]], *, samples: int, seed: int = 0
) -> list[ModelBelief]:
    """What the model believes about some questions, each a number of wordings: one greedy and `samples` drawn answers of each."""
    prompts = list(dict.fromkeys(prompt for wordings in questions for prompt in wordings))
    best = dict(zip(prompts, greedy_answers(model, prompts, new_tokens=NEW_TOKENS), strict=True))
    rows = [prompt for prompt in prompts for _ in range(samples)]
    seeds = [f"{seed} {number} {prompt}" for prompt in prompts for number in range(samples)]
    drawn: dict[str, list[str]] = {prompt: [] for prompt in prompts}
    for prompt, text in zip(rows, sample_answers(model, rows, seeds), strict=True):
        drawn[prompt].append(text)
    return [belief_from([best[p] for p in w], [t for p in w for t in drawn[p]]) for w in questions]


def belief_from(best: Sequence[str], drawn: Sequence[str]) -> ModelBelief:
    """What greedy answers (one per wording) and drawn ones say together; of equally common ones a greedy one wins."""
    said = [first_sentence(text) for text in (*best, *drawn)]
    counts = Counter(said)
    order = sorted(counts, key=lambda answer: (-counts[answer], said.index(answer)))
    answer = order[0] if order else ""
    greedy_ones = said[: len(best)]
    return ModelBelief(
        answer=answer,
        certainty=counts[answer] / len(said) if said else 0.0,
        agreement=greedy_ones.count(answer) / len(greedy_ones) if greedy_ones else 0.0,
        asked=len(said),
        others={other: round(counts[other] / len(said), 4) for other in order[1:4]},
    )


def first_sentence(text: str) -> str:
    """An answer, normalised, up to the end of its sentence; the stop of "St. Martin" is none."""
    end = END.search(text)
    return normalised(text[: end.end(1)] if end else text)


@torch.inference_mode()
def sample_answers(
    model: EditableModel,
    prompts: Sequence[str],
    seeds: Sequence[str],
    *,
    new_tokens: int = NEW_TOKENS,
) -> list[str]:
    """A continuation of every prompt, drawn at temperature 1; it depends on the prompt and its seed, never on its company."""
    rows = [tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    found = [""] * len(prompts)
    for batch in batches_by_length(rows, BATCH_TOKENS, equal=True):
        luck = torch.tensor([_uniform(seeds[i], new_tokens) for i in batch])
        ids = torch.tensor([rows[i] for i in batch], device=model.device)
        for i, tokens in zip(batch, _drawn(model, ids, luck).tolist(), strict=True):
            found[i] = model.tokenizer.decode(tokens, skip_special_tokens=True).strip()
    return found


def _uniform(seed: str, count: int) -> list[float]:
    source = random.Random(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]))
    return [source.random() for _ in range(count)]


def _drawn(model: EditableModel, ids: Tensor, luck: Tensor) -> Tensor:
    """Tokens (rows, steps) by inverse distribution: luck (rows, steps) from 0 to 1."""
    at, steps = read(model, ids), []
    for number in range(luck.shape[1]):
        below = at.logits.softmax(-1).cumsum(-1)
        wanted = luck[:, number : number + 1].to(below.device) * below[:, -1:]
        steps.append(torch.searchsorted(below, wanted).clamp_max(below.shape[1] - 1))
        if number + 1 < luck.shape[1]:
            at = read(model, steps[-1], at.cache)
    return torch.cat(steps, 1)
