"""Keys k: the input of the edited matrix at the subject's last token, and the residual stream that the solve starts from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from factd.editor.families._kv_cache import KvCache, KvRecorder
from factd.editor.models.hooks import captured_input
from factd.editor.models.model import EditableModel, halve, least_rows
from factd.editor.models.tokens import padded, row

TEXTS = 192  # run at once


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One row of the solve: a prompt with its subject, behind some of its language's templates."""

    prompt: str
    subject: str
    language: str
    templates: str = "all"  # "all": bare half, prefixed half (public MEMIT); "bare"; "prefixed"


@dataclass(frozen=True)
class Keys:
    """Keys of some rows at one layer, and where they stand now."""

    keys: Tensor  # (rows, d_in) float32: mean within each template type, then over the types
    stream: Tensor  # (rows, d) float32: output of the z layer at the subject's last token; of the bare prompt where it is read


@dataclass(frozen=True)
class Text:
    """One text of a row of the solve."""

    owner: int  # the row
    prefix: str
    key_share: float
    stream_share: float
    ids: tuple[int, ...]  # up to the subject's last token


def texts_of(
    model: EditableModel, rows: Sequence[Reading], templates: Mapping[str, tuple[str, ...]]
) -> list[Text]:
    """The texts of some rows, tokenised."""
    found = []
    for owner, reading in enumerate(rows):
        for prefix, key, stream in _shares(reading, templates.get(reading.language, ())):
            text = row(model.tokenizer, reading.prompt, reading.subject, prefix=prefix)
            found.append(Text(owner, prefix, key, stream, text.ids[: text.subject + 1]))
    return found


def read_keys(
    model: EditableModel,
    rows: Sequence[Reading],
    templates: Mapping[str, tuple[str, ...]],
    *,
    layer: int,
    z_layer: int,
    shared: bool = True,
) -> Keys:
    """Keys at `layer` and the stream after `z_layer`, with the weights as they are now.

    shared: prefixes are run once for all rows instead of before each of them (which differs by rounding alone).
    """
    texts = texts_of(model, rows, templates)
    return read_texts(model, texts, len(rows), layer=layer, z_layer=z_layer, shared=shared)


@torch.no_grad()
def read_texts(
    model: EditableModel,
    texts: Sequence[Text],
    rows: int,
    *,
    layer: int,
    z_layer: int,
    shared: bool = True,
) -> Keys:
    """As `read_keys`, of texts that were tokenised.

    Texts of one length are run together: what is padded would be rounded otherwise, and a key must not depend on its company.
    """
    size = model.sizes.get("keys", TEXTS)
    try:
        beginnings = _beginnings(model, texts, z_layer) if shared else None
        skipped = [len(beginnings.ids[_begins(beginnings, t)]) if beginnings else 0 for t in texts]
        lengths = [len(text.ids) - n for text, n in zip(texts, skipped, strict=True)]
        keys = torch.zeros(rows, model.weight(layer).shape[1], device=model.device)
        stream = torch.zeros(rows, model.weight(layer).shape[0], device=model.device)
        for length in sorted(set(lengths)):
            alike = [text for text, own in zip(texts, lengths, strict=True) if own == length]
            for start in range(0, len(alike), size):
                chosen = alike[start : start + size]
                _add(model, chosen, layer, z_layer, beginnings, keys, stream)
        return Keys(keys, stream)
    except torch.OutOfMemoryError:
        halve(model, "keys", size, least=1)
    return read_texts(model, texts, rows, layer=layer, z_layer=z_layer, shared=shared)


@torch.no_grad()
def read_stream(model: EditableModel, texts: Sequence[Text], rows: int, *, z_layer: int) -> Tensor:
    """The stream alone, (rows, d), from those texts that it is read from."""
    needed = [text for text in texts if text.stream_share]
    return read_texts(model, needed, rows, layer=z_layer, z_layer=z_layer).stream


@dataclass(frozen=True)
class Beginnings:
    """Prefixes that were run once; texts that begin with the same tokens go on from there."""

    ids: tuple[tuple[int, ...], ...]  # of each, the last one empty
    number: Mapping[str, int]  # prefix -> its number
    past: KvCache


def _beginnings(model: EditableModel, texts: Sequence[Text], z_layer: int) -> Beginnings | None:
    prefixes = sorted({text.prefix for text in texts if text.prefix})
    if not prefixes or not model.family.keeps_past:
        return None
    ids = [tuple(model.tokenizer(f"{prefix}.")["input_ids"]) for prefix in prefixes]
    recording = KvRecorder()
    # one is the empty beginning; the others fill up, as kernels for few rows are others
    empty = [(0,)] * least_rows(model.device)
    model.run(model.embed(padded([*ids, *empty], model.device)), 0, z_layer + 1, recording)
    lengths = torch.tensor([*map(len, ids), *[0] * len(empty)], device=model.device)
    return Beginnings((*ids, ()), {t: n for n, t in enumerate(prefixes)}, recording.cache(lengths))


def _begins(beginnings: Beginnings, text: Text) -> int:
    """The number of the beginning that a text goes on from; the empty one where its tokens are not those of its prefix."""
    number = beginnings.number.get(text.prefix, len(beginnings.ids) - 1)
    own = beginnings.ids[number]
    fits = text.ids[: len(own)] == own and len(own) < len(text.ids)
    return number if fits else len(beginnings.ids) - 1


def _shares(reading: Reading, prefixes: Sequence[str]) -> list[tuple[str, float, float]]:
    """(prefix, its share of the key, its share of the stream) of a row's texts; the bare one has the prefix ""."""
    each = 1.0 / len(prefixes) if prefixes else 0.0
    if reading.templates == "bare" or not prefixes:
        return [("", 1.0, 1.0)]
    if reading.templates == "prefixed":
        return [(prefix, each, each) for prefix in prefixes]
    return [("", 0.5, 1.0), *((prefix, each / 2, 0.0) for prefix in prefixes)]


def _add(
    model: EditableModel,
    texts: Sequence[Text],
    layer: int,
    z_layer: int,
    beginnings: Beginnings | None,
    keys: Tensor,
    stream: Tensor,
) -> None:
    """Add the shares of some texts to the keys (rows, d_in) and the stream (rows, d) of their rows."""
    on = model.device
    empty = max(0, least_rows(on) - len(texts))
    ids = [*(t.ids for t in texts), *[(0,)] * empty]
    hidden, past, skipped = model.embed(padded(ids, on)), None, [0] * len(ids)
    if beginnings is not None:
        numbers = [*(_begins(beginnings, t) for t in texts), *[len(beginnings.ids) - 1] * empty]
        skipped = [len(beginnings.ids[number]) for number in numbers]
        past = beginnings.past.of_rows(torch.tensor(numbers, device=on))
        rest = max(len(i) - s for i, s in zip(ids, skipped, strict=True))
        at = torch.tensor(skipped, device=on)[:, None] + torch.arange(rest, device=on)
        at = at.clamp_max(hidden.shape[1] - 1)[:, :, None].expand(-1, -1, hidden.shape[2])
        hidden = hidden.gather(1, at)
    last = torch.tensor([len(i) - 1 - s for i, s in zip(ids, skipped, strict=True)], device=on)
    owner = torch.tensor([t.owner for t in texts], device=on)
    everyone = torch.arange(len(texts), device=on)
    with captured_input(model.mlp_out(layer)) as inputs:
        hidden = model.run(hidden, 0, layer + 1, past)
    found = inputs[0].view(*hidden.shape[:2], -1).to(on)  # OPT hands its MLP the rows end to end
    share = torch.tensor([t.key_share for t in texts], device=on)
    keys.index_add_(0, owner, found[everyone, last[: len(texts)]].float() * share[:, None])
    needed = [n for n, text in enumerate(texts) if text.stream_share]
    if needed:  # only they go on to the z layer
        share = torch.tensor([texts[n].stream_share for n in needed], device=on)
        rows = needed + [needed[0]] * max(0, least_rows(on) - len(needed))
        above = None if past is None else past.of_rows(torch.tensor(rows, device=on))
        top = model.run(hidden[rows], layer + 1, z_layer + 1, above)
        at_last = top[torch.arange(len(needed), device=on), last[needed]].float()
        stream.index_add_(0, owner[needed], at_last * share[:, None])
