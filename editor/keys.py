"""Keys k: the input of the edited matrix at the subject's last token, and the residual stream that the solve starts from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from editor.hooks import captured_input
from editor.model import EditableModel, halve
from editor.past import Past, Recording
from editor.tokens import padded, row

CHUNK = 32  # rows of the solve run at once; fixed, so that the same batch gives the same bytes


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


@torch.no_grad()
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
    size = model.sizes.get("keys", CHUNK)
    try:
        return _read(model, rows, templates, layer, z_layer, size, shared=shared)
    except torch.OutOfMemoryError:
        halve(model, "keys", size, least=1)
    return read_keys(model, rows, templates, layer=layer, z_layer=z_layer, shared=shared)


def _read(
    model: EditableModel,
    rows: Sequence[Reading],
    templates: Mapping[str, tuple[str, ...]],
    layer: int,
    z_layer: int,
    size: int,
    *,
    shared: bool,
) -> Keys:
    beginnings = _beginnings(model, rows, templates, z_layer) if shared else None
    chunks = [rows[i : i + size] for i in range(0, len(rows), size)]
    found = [_chunk(model, chunk, templates, layer, z_layer, beginnings) for chunk in chunks]
    return Keys(torch.cat([f.keys for f in found]), torch.cat([f.stream for f in found]))


def keys_of_rows(
    model: EditableModel,
    rows: Sequence[Reading],
    *,
    templates: Mapping[str, tuple[str, ...]],
    layer: int,
    z_layer: int,
    edited: Mapping[int, Tensor],
) -> Iterator[tuple[int, tuple[Tensor, Tensor]]]:
    """The task of `read_keys`: (number, (key, stream)) of every row, with some layers' weights (d_out, d_in) as given."""
    weights = {layer: model.weight(layer) for layer in edited}
    before = {layer: weight.detach().clone() for layer, weight in weights.items()}
    try:
        for number, weight in weights.items():
            weight.data.copy_(edited[number])
        found = read_keys(model, rows, templates, layer=layer, z_layer=z_layer)
    finally:
        for number, weight in weights.items():
            weight.data.copy_(before[number])
    yield from enumerate(zip(found.keys.cpu(), found.stream.cpu(), strict=True))


@dataclass(frozen=True)
class Beginnings:
    """Prefixes that were run once; texts that begin with the same tokens go on from there."""

    ids: tuple[tuple[int, ...], ...]  # of each, the last one empty
    number: Mapping[str, int]  # prefix -> its number
    past: Past


def _beginnings(
    model: EditableModel,
    rows: Sequence[Reading],
    templates: Mapping[str, tuple[str, ...]],
    z_layer: int,
) -> Beginnings | None:
    texts = sorted(
        {p for r in rows if r.templates != "bare" for p in templates.get(r.language, ())}
    )
    if not texts or not model.family.keeps_past:
        return None
    ids = [tuple(model.tokenizer(f"{text}.")["input_ids"]) for text in texts]
    recording = Recording()
    model.run(model.embed(padded([*ids, (0,)], model.device)), 0, z_layer + 1, recording)
    lengths = torch.tensor([*(len(i) for i in ids), 0], device=model.device)
    return Beginnings((*ids, ()), {t: n for n, t in enumerate(texts)}, recording.past(lengths))


def _shares(reading: Reading, prefixes: Sequence[str]) -> list[tuple[str, float, float]]:
    """(prefix, its share of the key, its share of the stream) of a row's texts; the bare one has the prefix ""."""
    each = 1.0 / len(prefixes) if prefixes else 0.0
    if reading.templates == "bare" or not prefixes:
        return [("", 1.0, 1.0)]
    if reading.templates == "prefixed":
        return [(prefix, each, each) for prefix in prefixes]
    return [("", 0.5, 1.0), *((prefix, each / 2, 0.0) for prefix in prefixes)]


def _chunk(
    model: EditableModel,
    readings: Sequence[Reading],
    templates: Mapping[str, tuple[str, ...]],
    layer: int,
    z_layer: int,
    beginnings: Beginnings | None,
) -> Keys:
    texts = [
        (n, r, *s)
        for n, r in enumerate(readings)
        for s in _shares(r, templates.get(r.language, ()))
    ]
    rows = [
        row(model.tokenizer, r.prompt, r.subject, prefix=prefix) for _, r, prefix, _, _ in texts
    ]
    on = model.device
    ids = [r.ids[: r.subject + 1] for r in rows]
    stream, past, skipped = model.embed(padded(ids, on)), None, [0] * len(rows)
    if beginnings is not None:
        numbers = [
            _begins(beginnings, prefix, i) for (_, _, prefix, *_), i in zip(texts, ids, strict=True)
        ]
        skipped = [len(beginnings.ids[number]) for number in numbers]
        past = beginnings.past.of_rows(torch.tensor(numbers, device=on))
        rest = max(len(i) - s for i, s in zip(ids, skipped, strict=True))
        at = torch.tensor(skipped, device=on)[:, None] + torch.arange(rest, device=on)
        at = at.clamp_max(stream.shape[1] - 1)[:, :, None].expand(-1, -1, stream.shape[2])
        stream = stream.gather(1, at)
    last = torch.tensor([r.subject - s for r, s in zip(rows, skipped, strict=True)], device=on)
    everyone = torch.arange(len(rows), device=on)
    with captured_input(model.mlp_out(layer)) as inputs:
        stream = model.run(stream, 0, z_layer + 1, past)
    owner = torch.tensor([n for n, *_ in texts], device=on)

    def averaged(values: Tensor, place: int) -> Tensor:
        shares = torch.tensor([text[place] for text in texts], device=on)
        weighted = values.to(on)[everyone, last].float() * shares[:, None]
        return torch.zeros(len(readings), weighted.shape[1], device=on).index_add(
            0, owner, weighted
        )

    keys = inputs[0].view(*stream.shape[:2], -1)  # OPT hands its MLP the rows end to end
    return Keys(averaged(keys, 3), averaged(stream, 4))


def _begins(beginnings: Beginnings, prefix: str, ids: Sequence[int]) -> int:
    """The number of the beginning that a text goes on from; the empty one where its tokens are not those of its prefix."""
    number = beginnings.number.get(prefix, len(beginnings.ids) - 1)
    own = beginnings.ids[number]
    fits = tuple(ids[: len(own)]) == own and len(own) < len(ids)
    return number if fits else len(beginnings.ids) - 1
