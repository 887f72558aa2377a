"""Keys k, the inputs of an edited matrix at the subject's last token, and the stream there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from factd.editor.families._kv_cache import KvCache, KvRecorder
from factd.editor.models.hooks import captured_input
from factd.editor.models.model import EditableModel, minimum_rows, remember_half
from factd.editor.models.tokens import padded, row

TEXTS = 192  # run at once
Templates = Mapping[str, tuple[str, ...]]  # language -> prefixes


@dataclass(frozen=True, kw_only=True)
class KeyPrompt:
    """One row of a solve: a prompt with its subject, read behind prefixes of its language."""

    prompt: str  # holds "{}" once, where the subject goes
    subject: str
    language: str  # BCP 47
    templates: str = "all"  # "all": half bare, half prefixed (public MEMIT); "bare"; "prefixed"


@dataclass(frozen=True)
class Keys:
    """Keys of some rows at one layer, and the residual stream where the rows stand now."""

    keys: Tensor  # (rows, d_in) float32: mean within each template type, then over the types
    stream: Tensor  # (rows, d) float32: the z layer's output at the subject's last token; of the
    # bare prompt, or, for a row without it, the mean over the prefixed ones


@dataclass(frozen=True)
class KeyText:
    """One text of a row of a solve, tokenised, with its shares of the row's key and stream."""

    row: int  # number of the row
    prefix: str  # "": the bare prompt
    key_share: float
    stream_share: float
    ids: tuple[int, ...]  # up to the subject's last token


def texts_of(
    model: EditableModel, prompts: Sequence[KeyPrompt], templates: Templates
) -> list[KeyText]:
    """The texts of some rows, tokenised. Raises: BadEdit: a subject has no token."""
    texts = []
    for number, prompt in enumerate(prompts):
        for prefix, key, stream in _shares(prompt, templates.get(prompt.language, ())):
            text = row(model.tokenizer, prompt.prompt, prompt.subject, prefix=prefix)
            texts.append(KeyText(number, prefix, key, stream, text.ids[: text.subject + 1]))
    return texts


def read_keys(
    model: EditableModel,
    prompts: Sequence[KeyPrompt],
    templates: Templates,
    *,
    layer: int,
    z_layer: int,
    shared: bool = True,
) -> Keys:
    """Keys at `layer` and the stream after `z_layer`, on the weights as they are now.

    shared: each prefix is run once for all rows instead of once for each row. The results differ
    only by rounding.
    """
    texts = texts_of(model, prompts, templates)
    return read_texts(model, texts, len(prompts), layer=layer, z_layer=z_layer, shared=shared)


@torch.no_grad()
def read_texts(
    model: EditableModel,
    texts: Sequence[KeyText],
    rows: int,
    *,
    layer: int,
    z_layer: int,
    shared: bool = True,
) -> Keys:
    """The same as `read_keys`, from texts that are tokenised already.

    rows: how many rows there are. Texts of one length are run together. Padding would be rounded
    differently, and a key must not depend on the texts beside it. If memory runs out, half as many
    texts are run at once from then on.
    """
    size = model.batch_sizes.get("keys", TEXTS)
    try:
        prefixes = _shared_prefixes(model, texts, z_layer) if shared else None
        skipped = [len(prefixes.ids[_prefix_number(prefixes, t)]) if prefixes else 0 for t in texts]
        lengths = [len(text.ids) - n for text, n in zip(texts, skipped, strict=True)]
        keys = torch.zeros(rows, model.weight(layer).shape[1], device=model.device)
        stream = torch.zeros(rows, model.weight(layer).shape[0], device=model.device)
        for length in sorted(set(lengths)):
            alike = [text for text, own in zip(texts, lengths, strict=True) if own == length]
            for start in range(0, len(alike), size):
                chosen = alike[start : start + size]
                _add_texts(model, chosen, layer, z_layer, prefixes, keys, stream)
        return Keys(keys, stream)
    except torch.OutOfMemoryError:
        remember_half(model, "keys", size, least=1)
    return read_texts(model, texts, rows, layer=layer, z_layer=z_layer, shared=shared)


@torch.no_grad()
def read_stream(
    model: EditableModel, texts: Sequence[KeyText], rows: int, *, z_layer: int
) -> Tensor:
    """The stream of `Keys` alone, (rows, d) float32, from the texts that contribute to it."""
    needed = [text for text in texts if text.stream_share]
    return read_texts(model, needed, rows, layer=z_layer, z_layer=z_layer).stream


@dataclass(frozen=True)
class SharedPrefixes:
    """Prefixes that were run once; texts that begin with the same tokens continue from there."""

    ids: tuple[tuple[int, ...], ...]  # the tokens of each prefix; the last one is empty
    number: Mapping[str, int]  # prefix -> its number in `ids`
    cache: KvCache  # a row for each prefix


def _shared_prefixes(
    model: EditableModel, texts: Sequence[KeyText], z_layer: int
) -> SharedPrefixes | None:
    prefixes = sorted({text.prefix for text in texts if text.prefix})
    if not prefixes or not model.family.keeps_past:
        return None
    ids = [tuple(model.tokenizer(f"{prefix}.")["input_ids"]) for prefix in prefixes]
    recorder = KvRecorder()
    # one of these rows is the empty prefix; the others avoid the kernels for few rows
    empty = [(0,)] * minimum_rows(model.device)
    model.run(model.embed(padded([*ids, *empty], model.device)), 0, z_layer + 1, recorder)
    lengths = torch.tensor([*map(len, ids), *[0] * len(empty)], device=model.device)
    numbers = {prefix: n for n, prefix in enumerate(prefixes)}
    return SharedPrefixes((*ids, ()), numbers, recorder.cache(lengths))


def _prefix_number(prefixes: SharedPrefixes, text: KeyText) -> int:
    """The number of the prefix that a text continues from.

    It is the empty prefix if the text does not begin with the tokens of its own: a tokenizer may
    join the end of a prefix with what follows.
    """
    number = prefixes.number.get(text.prefix, len(prefixes.ids) - 1)
    own = prefixes.ids[number]
    fits = text.ids[: len(own)] == own and len(own) < len(text.ids)
    return number if fits else len(prefixes.ids) - 1


def _shares(prompt: KeyPrompt, prefixes: Sequence[str]) -> list[tuple[str, float, float]]:
    """(prefix, share of the key, share of the stream) of a row's texts; "": the bare one."""
    each = 1.0 / len(prefixes) if prefixes else 0.0
    if prompt.templates == "bare" or not prefixes:
        return [("", 1.0, 1.0)]
    if prompt.templates == "prefixed":
        return [(prefix, each, each) for prefix in prefixes]
    return [("", 0.5, 1.0), *((prefix, each / 2, 0.0) for prefix in prefixes)]


def _add_texts(
    model: EditableModel,
    texts: Sequence[KeyText],
    layer: int,
    z_layer: int,
    prefixes: SharedPrefixes | None,
    keys: Tensor,
    stream: Tensor,
) -> None:
    """Add texts' shares, in place, to the keys (rows, d_in) and the stream (rows, d)."""
    on = model.device
    empty = max(0, minimum_rows(on) - len(texts))
    ids = [*(text.ids for text in texts), *[(0,)] * empty]
    hidden, past, skipped = model.embed(padded(ids, on)), None, [0] * len(ids)
    if prefixes is not None:
        none = len(prefixes.ids) - 1
        numbers = [*(_prefix_number(prefixes, text) for text in texts), *[none] * empty]
        skipped = [len(prefixes.ids[number]) for number in numbers]
        past = prefixes.cache.of_rows(torch.tensor(numbers, device=on))
        hidden = _without_prefixes(hidden, [len(i) for i in ids], skipped)
    last = torch.tensor([len(i) - 1 - s for i, s in zip(ids, skipped, strict=True)], device=on)
    owner = torch.tensor([text.row for text in texts], device=on)
    with captured_input(model.mlp_out(layer)) as inputs:
        hidden = model.run(hidden, 0, layer + 1, past)
    read = inputs[0].view(*hidden.shape[:2], -1).to(on)  # OPT's MLP gets the rows end to end
    share = torch.tensor([text.key_share for text in texts], device=on)
    at_last = read[torch.arange(len(texts), device=on), last[: len(texts)]].float()
    keys.index_add_(0, owner, at_last * share[:, None])
    needed = [n for n, text in enumerate(texts) if text.stream_share]
    if needed:  # only these texts are run on to the z layer
        share = torch.tensor([texts[n].stream_share for n in needed], device=on)
        rows = needed + [needed[0]] * max(0, minimum_rows(on) - len(needed))
        above = None if past is None else past.of_rows(torch.tensor(rows, device=on))
        top = model.run(hidden[rows], layer + 1, z_layer + 1, above)
        at_last = top[torch.arange(len(needed), device=on), last[needed]].float()
        stream.index_add_(0, owner[needed], at_last * share[:, None])


def _without_prefixes(hidden: Tensor, lengths: Sequence[int], skipped: Sequence[int]) -> Tensor:
    """The tokens behind each row's prefix, (rows, rest, d), of a stream (rows, longest, d)."""
    rest = max(length - skip for length, skip in zip(lengths, skipped, strict=True))
    on = hidden.device
    at = torch.tensor(skipped, device=on)[:, None] + torch.arange(rest, device=on)
    at = at.clamp_max(hidden.shape[1] - 1)[:, :, None].expand(-1, -1, hidden.shape[2])
    return hidden.gather(1, at)
