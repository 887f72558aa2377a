"""Forward replay: where a value that is put in place takes the stream behind later layers.

arXiv:2605.00358. The value z belongs to the first edited layer. Each text is run forward with the
stream at the subject's last token moved there by z - z0. Where the stream then stands behind each
later edited layer is what that layer's update must reach. So the targets of all layers belong to
one forward pass, and no layer has to guess which part of the way is its own.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from factd.editor.models.model import EditableModel, minimum_rows, remember_half
from factd.editor.models.tokens import padded
from factd.editor.models.weights import weights_restored
from factd.editor.models.workers import in_order, run_task
from factd.editor.solving.keys import TEXTS, KeyPrompt, KeyText, Templates, texts_of


@torch.no_grad()
def replayed_streams(
    model: EditableModel, texts: Sequence[KeyText], moves: Tensor, layers: Sequence[int]
) -> Tensor:
    """Where each row's stream stands behind each layer after its move, (rows, layers, d) float32.

    moves (rows, d): what is added to the stream behind the first layer at the subject's last token,
    in every text that counts for the row's stream. layers: rising. The streams are those at that
    token, on the weights as they are now. Texts of one length are run together, as for keys.
    """
    size = model.batch_sizes.get("keys", TEXTS)
    needed = [text for text in texts if text.stream_share]
    streams = torch.zeros(len(moves), len(layers), moves.shape[1], device=model.device)
    try:
        for length in sorted({len(text.ids) for text in needed}):
            alike = [text for text in needed if len(text.ids) == length]
            for start in range(0, len(alike), size):
                _add_streams(model, alike[start : start + size], moves, layers, streams)
        return streams
    except torch.OutOfMemoryError:
        remember_half(model, "keys", size, least=1)
    return replayed_streams(model, texts, moves, layers)


def _add_streams(
    model: EditableModel,
    texts: Sequence[KeyText],
    moves: Tensor,
    layers: Sequence[int],
    streams: Tensor,
) -> None:
    """Add the shares of texts of one length, in place, to the streams (rows, layers, d)."""
    on = model.device
    empty = max(0, minimum_rows(on) - len(texts))
    chosen = [*texts, *[texts[0]] * empty]
    owner = torch.tensor([text.row for text in texts], device=on)
    share = torch.tensor([text.stream_share for text in texts], device=on)[:, None]
    hidden = model.run(model.embed(padded([text.ids for text in chosen], on)), 0, layers[0] + 1)
    moved = torch.tensor([text.row for text in chosen], device=on)
    last = hidden[:, -1].float() + moves.to(on)[moved]
    hidden = torch.cat([hidden[:, :-1], last.to(hidden.dtype)[:, None]], 1)
    behind = layers[0] + 1
    for number, layer in enumerate(layers):
        hidden, behind = model.run(hidden, behind, layer + 1), layer + 1
        streams[:, number].index_add_(0, owner, hidden[: len(texts), -1].float() * share)


def replayed_by_workers(
    model: EditableModel,
    rows: Sequence[KeyPrompt],
    moves: Tensor,
    templates: Templates,
    layers: Sequence[int],
) -> Tensor:
    """The same as `replayed_streams`, for rows that are dealt out to the model's workers."""
    results = run_task(
        model,
        replay_rows,
        list(zip(rows, moves.cpu(), strict=True)),
        templates=templates,
        layers=tuple(layers),
        edited={n: model.weight(n).detach().cpu() for n in layers},
    )
    return torch.stack(in_order(results, len(rows))).to(model.device)


def replay_rows(
    model: EditableModel,
    items: Sequence[tuple[KeyPrompt, Tensor]],
    *,
    templates: Templates,
    layers: Sequence[int],
    edited: Mapping[int, Tensor],
) -> Iterator[tuple[int, Tensor]]:
    """`replayed_streams` as a task for workers: (number, streams (layers, d)) of every row.

    items: rows, each with its move (d,). edited: the weights (d_out, d_in) of the edited layers.
    """
    rows, moves = [row for row, _ in items], torch.stack([move for _, move in items])
    texts = texts_of(model, rows, templates)
    with weights_restored([model.weight(number) for number in edited]):
        for number, weight in edited.items():
            model.weight(number).data.copy_(weight)
        streams = replayed_streams(model, texts, moves, layers)
    yield from enumerate(streams.cpu())
