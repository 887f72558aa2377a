"""Second moments C = E[k kᵀ] of the inputs of the edited matrices, from a corpus or from text that the model writes itself."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from editor.errors import DamagedArtefact, WrongModel
from editor.files import verify_folder, write_folder
from editor.generate import sample_rows
from editor.hooks import captured_input
from editor.model import EditableModel
from editor.progress import Progress, silent

FILE = "moments.safetensors"
ROWS = 128  # rows run at once
ROW_TOKENS = 64
SELF_GENERATED = "self-generated"


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Second moments of one model: uncentred, averaged over the tokens of a sample."""

    layers: Mapping[int, Tensor]  # layer -> (d_in, d_in) float32
    tokens: int  # size of the sample
    source: str  # "self-generated" or the SHA-256 of the texts
    fingerprint: str  # of the base model


def build_moments(
    model: EditableModel,
    layers: Sequence[int],
    *,
    tokens: int,
    texts: Iterable[str] | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> Moments:
    """Second moments over `tokens` tokens of texts, or (texts None) of what the model writes from nothing.

    One pass that stops at the last of the layers. A text with fewer tokens than asked for is used up once.
    """
    digest = hashlib.sha256()
    rows = _own_text(model, seed) if texts is None else _texts(model, texts, digest)
    sums = {
        layer: torch.zeros(model.weight(layer).shape[1], model.weight(layer).shape[1]).double()
        for layer in layers
    }
    count = 0
    for ids in rows:
        for layer, keys in _inputs(model, ids, layers).items():
            sums[layer] += (keys.T @ keys).cpu()
        count += ids.numel()
        progress("second moments", min(count, tokens), tokens)
        if count >= tokens:
            break
    if not count:
        raise DamagedArtefact(
            model.path, "the corpus of the second moments has no text; give one or leave it out"
        )
    source = SELF_GENERATED if texts is None else digest.hexdigest()
    means = {layer: (total / count).float() for layer, total in sums.items()}
    return Moments(layers=means, tokens=count, source=source, fingerprint=model.fingerprint)


@torch.no_grad()
def _inputs(model: EditableModel, ids: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
    """Inputs of the edited matrices over all tokens of rows of equal length, (tokens, d_in) float64 per layer."""
    hidden, found = model.embed(ids), {}
    for index in range(max(layers) + 1):
        if index in layers:
            with captured_input(model.mlp_out(index)) as seen:
                hidden = model.run(hidden, index, index + 1)
            found[index] = seen[0].flatten(0, 1).double()
        else:
            hidden = model.run(hidden, index, index + 1)
    return found


def _own_text(model: EditableModel, seed: int) -> Iterator[Tensor]:
    start = model.tokenizer.bos_token_id
    start = model.tokenizer.eos_token_id if start is None else start
    ids = torch.full((ROWS, 1), start or 0, device=model.device)
    number = 0
    while True:
        yield sample_rows(model, ids, new_tokens=ROW_TOKENS - 1, seed=seed + number)
        number += 1


def _texts(model: EditableModel, texts: Iterable[str], digest: "hashlib._Hash") -> Iterator[Tensor]:
    """Texts one behind the other, cut into rows; what fills no row at the end is one short row."""
    left: list[int] = []
    for text in texts:
        digest.update(text.encode() + b"\0")
        left += model.tokenizer(text)["input_ids"]
        while len(left) >= ROWS * ROW_TOKENS:
            yield torch.tensor(left[: ROWS * ROW_TOKENS], device=model.device).view(
                ROWS, ROW_TOKENS
            )
            left = left[ROWS * ROW_TOKENS :]
    full = len(left) // ROW_TOKENS * ROW_TOKENS
    if full:
        yield torch.tensor(left[:full], device=model.device).view(-1, ROW_TOKENS)
    elif left:
        yield torch.tensor([left], device=model.device)


def save_moments(moments: Moments, folder: Path) -> Path:
    """Write second moments with a manifest; whole or not at all."""
    tensors = {str(layer): matrix.contiguous() for layer, matrix in moments.layers.items()}
    about = {
        "tokens": moments.tokens,
        "source": moments.source,
        "fingerprint": moments.fingerprint,
        "dtype": "float32",
    }
    about["layers"] = sorted(moments.layers)
    return write_folder(folder, lambda part: save_file(tensors, part / FILE), about)


def load_moments(folder: Path, *, fingerprint: str) -> Moments:
    """Second moments of the model with this fingerprint.

    Raises: DamagedArtefact: a file differs from its manifest. WrongModel: they are another model's.
    """
    manifest = verify_folder(folder)
    if manifest["fingerprint"] != fingerprint:
        raise WrongModel(
            f"{folder} holds the second moments of another model; build them with `factd stats build`"
        )
    layers = {int(name): matrix for name, matrix in load_file(folder / FILE).items()}
    return Moments(
        layers=layers, tokens=manifest["tokens"], source=manifest["source"], fingerprint=fingerprint
    )


def moments_folder(
    workspace: Path, model: EditableModel, layers: Sequence[int], tokens: int, source: str
) -> Path:
    """Where the second moments of a model lie: they depend on the model, the layers, the sample's size and its source."""
    named = "-".join(str(layer) for layer in layers)
    return workspace / "moments" / f"{model.fingerprint[:16]}-{named}-{tokens}-{source[:16]}"
