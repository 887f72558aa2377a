"""What a model says: teacher-forced scores and greedy answers of probes, batched by length.

Scoring of a target o of T tokens after a prompt x: nll = -(1/T) Σ log p(o_t | x, o_<t); accurate: every token is the
argmax (EDITING §5). Answers are greedy; an answer is right when it starts with an accepted label and ends there.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editor.generate import continued
from editor.model import EditableModel
from editor.tokens import padded

NEW_TOKENS = 32
BATCH_TOKENS = 6_000
ENDS = (".", "!", "?", "\n", ";")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One question to the model."""

    kind: str  # "edit", "paraphrase", "neighbourhood" or "known"
    language: str  # BCP 47
    prompt: str  # the text that the model continues
    target: str  # the answer that is scored
    accepted: tuple[str, ...]  # labels and aliases that count as right
    contrast: str | None = None  # the answer that must lose
    fact: str = ""  # id of the fact that it belongs to
    relation: str = ""
    written_in: tuple[str, ...] = ()  # languages the fact was written in
    foreign: tuple[
        str, ...
    ] = ()  # names of the same objects in other languages that are none in this one


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model made of a probe."""

    target_nll: float  # nats per token
    contrast_nll: float  # nan where the probe has no contrast
    accurate: bool
    text: str  # greedy continuation
    right: bool


def normalised(text: str) -> str:
    """Compatibility-composed, case-folded, single spaces, no quotes or stops around."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().replace("’", "'").split())
    return folded.strip(" .!?,;:\"'«»“”")


def is_right(text: str, accepted: Sequence[str]) -> bool:
    """An answer names an accepted label and nothing but the end of the sentence follows it.

    "euro. The weather" is right for "euro"; "Turkish lira (1922–2005)" is not right for "Turkish lira".
    """
    return any(says(text, label) for label in accepted)


def says(text: str, label: str) -> bool:
    """The text starts with a label that ends there: before the end, a stop or a line break."""
    said = " ".join(
        unicodedata.normalize("NFKC", text).casefold().replace("’", "'").split(" ")
    ).lstrip(" \"'«“")
    wanted = normalised(label)
    rest = re.sub(r"^\s*[\"'»”]+\s*", "", said[len(wanted) :])
    return said.startswith(wanted) and (not rest.strip() or rest.startswith(ENDS))


def answers(
    model: EditableModel,
    probes: Sequence[Probe],
    *,
    terminator: str = "",
    batch_tokens: int = BATCH_TOKENS,
) -> tuple[Answer, ...]:
    """Scores and greedy answers, in the order of the probes; the result does not depend on the batches."""
    target = forced(model, [(p.prompt, p.target + terminator) for p in probes], batch_tokens)
    asked = [i for i, p in enumerate(probes) if p.contrast]
    contrast = [float("nan")] * len(probes)
    pairs = [(probes[i].prompt, f"{probes[i].contrast}{terminator}") for i in asked]
    for i, (nll, _) in zip(asked, forced(model, pairs, batch_tokens), strict=True):
        contrast[i] = nll
    said = greedy(model, [p.prompt for p in probes], batch_tokens=batch_tokens)
    return tuple(
        Answer(
            target_nll=nll,
            contrast_nll=against,
            accurate=hit,
            text=text,
            right=is_right(text, p.accepted),
        )
        for p, (nll, hit), against, text in zip(probes, target, contrast, said, strict=True)
    )


def by_length(
    rows: Sequence[Sequence[int]], batch_tokens: int, *, equal: bool
) -> Iterator[list[int]]:
    """Indices of rows in batches of at most `batch_tokens` padded tokens; equal: of one length only."""
    batch: list[int] = []
    for index in sorted(range(len(rows)), key=lambda i: (len(rows[i]), i)):
        length = len(rows[index])
        full = (len(batch) + 1) * length > batch_tokens
        if batch and (full or (equal and length != len(rows[batch[0]]))):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


@torch.inference_mode()
def forced(
    model: EditableModel, pairs: Sequence[tuple[str, str]], batch_tokens: int = BATCH_TOKENS
) -> list[tuple[float, bool]]:
    """(nll, every token is the argmax) of targets after prompts, teacher forced."""
    rows, starts = [], []
    for prompt, target in pairs:
        encoded = model.tokenizer(f"{prompt} {target}", return_offsets_mapping=True)
        inside = [
            i for i, (a, b) in enumerate(encoded["offset_mapping"]) if b > a and b > len(prompt)
        ]
        rows.append(tuple(encoded["input_ids"]))
        starts.append(inside[0])
    found: list[tuple[float, bool]] = [(float("nan"), False)] * len(pairs)
    for batch in by_length(rows, batch_tokens, equal=False):
        hidden = model.run(
            model.embed(padded([rows[i] for i in batch], model.device)), 0, len(model.blocks)
        )
        spans = [(n, at) for n, i in enumerate(batch) for at in range(starts[i], len(rows[i]))]
        places = torch.tensor([[n, at - 1] for n, at in spans], device=model.device).T
        tokens = torch.tensor([rows[batch[n]][at] for n, at in spans], device=model.device)
        log = model.logits(hidden[places[0], places[1]]).float().log_softmax(-1)
        found_in = _per_row(log, tokens, places[0], len(batch))
        for n, i in enumerate(batch):
            found[i] = found_in[n]
    return found


def _per_row(log: Tensor, tokens: Tensor, owner: Tensor, rows: int) -> list[tuple[float, bool]]:
    picked = -log.gather(1, tokens[:, None])[:, 0]
    counts = torch.zeros(rows, device=log.device).index_add(0, owner, torch.ones_like(picked))
    nll = torch.zeros(rows, device=log.device).index_add(0, owner, picked) / counts
    misses = torch.zeros(rows, device=log.device).index_add(
        0, owner, (log.argmax(-1) != tokens).float()
    )
    return list(zip(nll.tolist(), (misses == 0).tolist(), strict=True))


def greedy(
    model: EditableModel,
    prompts: Sequence[str],
    *,
    new_tokens: int = NEW_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
) -> list[str]:
    """Greedy continuations up to the end of the sentence; rows of one length share a batch, so nothing is padded."""
    rows = [tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    stops = _stops(model)
    found = [""] * len(prompts)
    for batch in by_length(rows, batch_tokens, equal=True):
        ids = torch.tensor([rows[i] for i in batch], device=model.device)
        text = continued(
            model,
            ids,
            new_tokens=new_tokens,
            choose=lambda logits: logits.argmax(-1),
            finished=lambda new: torch.isin(new, stops).any(-1),
        )
        for n, i in enumerate(batch):
            found[i] = _until_stop(model, text[n, ids.shape[1] :], stops)
    return found


def _stops(model: EditableModel) -> Tensor:
    """Tokens that end a sentence or a text: the end token, and tokens that are a stop or a line break."""
    stops = {
        tokens[-1] for end in (".", "!", "?", "\n") if (tokens := model.tokenizer(end)["input_ids"])
    }
    if model.tokenizer.eos_token_id is not None:
        stops.add(model.tokenizer.eos_token_id)
    return torch.tensor(sorted(stops), device=model.device)


def _until_stop(model: EditableModel, new: Tensor, stops: Tensor) -> str:
    hits = torch.isin(new, stops).nonzero()
    kept = new[: int(hits[0]) + 1] if len(hits) else new
    return str(model.tokenizer.decode(kept, skip_special_tokens=True)).strip()
