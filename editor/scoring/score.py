"""Teacher-forced scores and greedy answers of probes, batched by length.

The score of a target o of T tokens after a prompt x is nll = -(1/T) Σ log p(o_t | x, o_<t). The
target is accurate if every token of it is the argmax (docs/explanation/editing.md §5). Answers are
greedy. Whether an answer is right says editor/scoring/judge.py.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from factd.editor.models.generation import CachedTexts, greedy_after, read
from factd.editor.models.model import EditableModel, remember_half
from factd.editor.models.tokens import padded
from factd.editor.scoring.judge import is_right

NEW_TOKENS = 32  # longest answer
BATCH_TOKENS = 6_000  # padded tokens that are run at once


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One question to a model."""

    kind: str  # what it probes, such as "edit"; checks list theirs in KINDS
    language: str  # BCP 47
    prompt: str  # the text that the model continues
    target: str  # the answer that is scored
    accepted: tuple[str, ...]  # labels and aliases that count as right
    contrast: str | None = None  # the answer that must be less likely than the target
    fact: str = ""  # id of the fact that it asks about
    relation: str = ""
    written_in: tuple[str, ...] = ()  # languages in which the fact was written
    # names of the object that only other languages use
    foreign: tuple[str, ...] = ()
    # known names that begin with an accepted label and are other things (scoring/judge.py)
    longer: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A model's scores and greedy answer for a probe."""

    target_nll: float  # nats per token
    contrast_nll: float  # nats per token; nan if the probe has no contrast
    accurate: bool  # every token of the target is the argmax, teacher forced
    text: str  # greedy continuation
    right: bool  # the text gives an accepted label (scoring/judge.py)


def answers(
    model: EditableModel,
    probes: Sequence[Probe],
    *,
    terminator: str = "",
    batch_tokens: int | None = None,
    new_tokens: int = NEW_TOKENS,
) -> tuple[Answer, ...]:
    """Scores and greedy answers, in the order of the probes. They do not depend on the batches.

    Each prompt is read once. Its target, its contrast and the greedy answer continue from the
    model's cache. If the device runs out of memory, the batch is halved. batch_tokens: padded
    tokens that are run at once. new_tokens: of an answer, at most; 0: scores only, and no answer
    is right.

    Raises: torch.OutOfMemoryError: the smallest batch does not fit either.
    """
    size = batch_tokens or model.batch_sizes.get("probes", BATCH_TOKENS)
    try:
        return _answers(model, probes, terminator, size, new_tokens)
    except torch.OutOfMemoryError:
        remember_half(model, "probes", size, least=64)
    return answers(model, probes, terminator=terminator, new_tokens=new_tokens)


def _answers(
    model: EditableModel,
    probes: Sequence[Probe],
    terminator: str,
    batch_tokens: int,
    new_tokens: int,
) -> tuple[Answer, ...]:
    prompts = [tuple(model.tokenizer(p.prompt)["input_ids"]) for p in probes]
    target = [(p.prompt, p.target + terminator) for p in probes]
    contrast = [(p.prompt, f"{p.contrast}{terminator}") if p.contrast else None for p in probes]
    rest = [_target_tokens(model, t, ids) for t, ids in zip(target, prompts, strict=True)]
    other = [_target_tokens(model, c, ids) for c, ids in zip(contrast, prompts, strict=True)]
    scores: list[list[Score | None]] = [[None] * len(probes), [None] * len(probes)]
    texts = [""] * len(probes)
    stops, breaks = _stops(model), _last_tokens(model, ("\n",))
    for batch in batches_by_length(prompts, batch_tokens, equal=True):
        start = read(model, torch.tensor([prompts[i] for i in batch], device=model.device))
        for own, wanted in zip(scores, (rest, other), strict=True):
            for i, score in zip(
                batch, scores_after(model, start, [wanted[i] for i in batch]), strict=True
            ):
                own[i] = score
        if new_tokens:
            new = greedy_after(model, start, new_tokens=new_tokens, stops=stops, breaks=breaks)
            for i, tokens in zip(batch, new, strict=True):
                texts[i] = _text(model, tokens)
    _score_whole(model, scores[0], target, batch_tokens)
    _score_whole(model, scores[1], contrast, batch_tokens)
    return tuple(
        Answer(
            target_nll=scored[0],
            contrast_nll=against[0],
            accurate=scored[1],
            text=text,
            right=is_right(text, p.accepted, longer=p.longer),
        )
        for p, scored, against, text in zip(
            probes,
            (s or UNSCORED for s in scores[0]),
            (s or UNSCORED for s in scores[1]),
            texts,
            strict=True,
        )
    )


Score = tuple[float, bool]  # (nll in nats per token, every token is the argmax)
UNSCORED: Score = (float("nan"), False)


def _target_tokens(
    model: EditableModel, pair: tuple[str, str] | None, prompt: tuple[int, ...]
) -> tuple[int, ...] | None:
    """The tokens of a target that follow its prompt's tokens.

    None if the tokens of prompt and target together do not begin with the prompt's tokens, or if
    the model keeps no cache to continue from.
    """
    if pair is None or not model.family.keeps_past:
        return None
    ids = tuple(model.tokenizer(f"{pair[0]} {pair[1]}")["input_ids"])
    return ids[len(prompt) :] if ids[: len(prompt)] == prompt and len(ids) > len(prompt) else None


def _score_whole(
    model: EditableModel,
    scores: list[Score | None],
    pairs: Sequence[tuple[str, str] | None],
    batch_tokens: int,
) -> None:
    """Score together with their prompt the targets that could not continue from its cache."""
    left = [i for i, (s, pair) in enumerate(zip(scores, pairs, strict=True)) if pair and s is None]
    unscored = [pair for i in left if (pair := pairs[i])]
    for i, score in zip(left, forced_scores(model, unscored, batch_tokens), strict=True):
        scores[i] = score


@torch.inference_mode()
def scores_after(
    model: EditableModel, start: CachedTexts, wanted: Sequence[tuple[int, ...] | None]
) -> list[Score | None]:
    """Teacher-forced scores of tokens that follow texts already read; None for rows without tokens.

    wanted: per row of `start` the tokens to score, or None.
    """
    rows = [n for n, tokens in enumerate(wanted) if tokens]
    if not rows:
        return [None] * len(wanted)
    tokens = [wanted[n] or () for n in rows]
    on, longest = start.logits.device, max(map(len, tokens))
    log, owner = start.logits[rows].log_softmax(-1), torch.arange(len(rows), device=on)
    if longest > 1:
        cache = copy.deepcopy(start.cache)
        cache.batch_select_indices(torch.tensor(rows, device=on))
        ids = padded([t[:-1] for t in tokens], on, longest=longest - 1)
        out = model.model.base_model(input_ids=ids, use_cache=True, **{model.family.cache: cache})
        more = torch.tensor(
            [(n, at) for n, t in enumerate(tokens) for at in range(len(t) - 1)], device=on
        ).T
        normed = out.last_hidden_state[more[0], more[1]]
        log = torch.cat([log, model.unembedded(normed).float().log_softmax(-1)])
        owner = torch.cat([owner, more[0]])
    chosen = torch.tensor([t[0] for t in tokens] + [x for t in tokens for x in t[1:]], device=on)
    scored = _per_row(log, chosen, owner, len(rows))
    scores: list[Score | None] = [None] * len(wanted)
    for n, score in zip(rows, scored, strict=True):
        scores[n] = score
    return scores


def batches_by_length(
    rows: Sequence[Sequence[int]], batch_tokens: int, *, equal: bool
) -> Iterator[list[int]]:
    """Indices of rows in batches of at most `batch_tokens` padded tokens, shortest rows first.

    equal: all rows of a batch have one length.
    """
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
def forced_scores(
    model: EditableModel, pairs: Sequence[tuple[str, str]], batch_tokens: int = BATCH_TOKENS
) -> list[tuple[float, bool]]:
    """Teacher-forced scores of (prompt, target) pairs: nll in nats per token, and accuracy."""
    rows, starts = [], []
    for prompt, target in pairs:
        encoded = model.tokenizer(f"{prompt} {target}", return_offsets_mapping=True)
        inside = [
            i for i, (a, b) in enumerate(encoded["offset_mapping"]) if b > a and b > len(prompt)
        ]
        rows.append(tuple(encoded["input_ids"]))
        starts.append(inside[0])
    scores: list[Score] = [UNSCORED] * len(pairs)
    for batch in batches_by_length(rows, batch_tokens, equal=False):
        hidden = model.run(
            model.embed(padded([rows[i] for i in batch], model.device)), 0, len(model.blocks)
        )
        spans = [(n, at) for n, i in enumerate(batch) for at in range(starts[i], len(rows[i]))]
        places = torch.tensor([[n, at - 1] for n, at in spans], device=model.device).T
        tokens = torch.tensor([rows[batch[n]][at] for n, at in spans], device=model.device)
        log = model.logits(hidden[places[0], places[1]]).float().log_softmax(-1)
        for i, score in zip(batch, _per_row(log, tokens, places[0], len(batch)), strict=True):
            scores[i] = score
    return scores


def _per_row(log: Tensor, tokens: Tensor, owner: Tensor, rows: int) -> list[Score]:
    """The scores of rows.

    log (n, vocabulary): log-probabilities; tokens (n,); owner (n,): the row of each token.
    """
    picked = -log.gather(1, tokens[:, None])[:, 0]
    counts = torch.zeros(rows, device=log.device).index_add(0, owner, torch.ones_like(picked))
    nll = torch.zeros(rows, device=log.device).index_add(0, owner, picked) / counts
    misses = torch.zeros(rows, device=log.device).index_add(
        0, owner, (log.argmax(-1) != tokens).float()
    )
    return list(zip(nll.tolist(), (misses == 0).tolist(), strict=True))


def greedy_answers(
    model: EditableModel,
    prompts: Sequence[str],
    *,
    new_tokens: int = NEW_TOKENS,
    batch_tokens: int = BATCH_TOKENS,
) -> list[str]:
    """Greedy continuations of prompts, up to the end of the sentence or `new_tokens` tokens.

    Rows of one length share a batch, so nothing is padded.
    """
    rows = [tuple(model.tokenizer(prompt)["input_ids"]) for prompt in prompts]
    stops, breaks = _stops(model), _last_tokens(model, ("\n",))
    texts = [""] * len(prompts)
    for batch in batches_by_length(rows, batch_tokens, equal=True):
        start = read(model, torch.tensor([rows[i] for i in batch], device=model.device))
        new = greedy_after(model, start, new_tokens=new_tokens, stops=stops, breaks=breaks)
        for i, tokens in zip(batch, new, strict=True):
            texts[i] = _text(model, tokens)
    return texts


def _stops(model: EditableModel) -> Tensor:
    """Ids of the tokens that end a sentence or a text: the end token, stops and the line break."""
    stops = _last_tokens(model, (".", "!", "?", "\n"))
    if model.tokenizer.eos_token_id is not None:
        stops.add(model.tokenizer.eos_token_id)
    return torch.tensor(sorted(stops), device=model.device)


def _last_tokens(model: EditableModel, texts: Sequence[str]) -> set[int]:
    """The ids of the last tokens of some texts."""
    return {tokens[-1] for text in texts if (tokens := model.tokenizer(text)["input_ids"])}


def _text(model: EditableModel, tokens: Sequence[int]) -> str:
    return str(model.tokenizer.decode(tokens, skip_special_tokens=True)).strip()
