"""Second moments C = E[k kᵀ] of the inputs of the edited matrices.

Each layer's is a verified artefact. The name and manifest of its folder say which model, layer,
sample size and source it is of. Second moments that exist are verified and used; missing ones are
built, with progress. Nothing is ever recomputed silently: a damaged artefact is an error. A pass
that is interrupted resumes where it stopped.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from factd.editor.closed_form import cholesky
from factd.editor.errors import DamagedArtefact, WrongModel
from factd.editor.files.folders import verify_folder, write_folder
from factd.editor.models.hooks import captured_input
from factd.editor.models.model import EditableModel
from factd.editor.moments.corpus import KeptText, SelfGenerated, TextSource
from factd.editor.progress import Progress, silent

FILE = "moments.safetensors"
STAGE = "second moments"  # of the progress
SAVE_EVERY_BATCHES = 16  # of an unfinished pass


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Second moments of one model: uncentred, averaged over the tokens of a sample."""

    layers: Mapping[int, Tensor]  # layer -> (d_in, d_in) float32
    tokens: int  # size of the sample
    source: str  # "self-generated" or the SHA-256 of the corpus
    fingerprint: str  # of the base model
    dtype: str = "float32"  # that the model computed in
    factors: dict[int, Tensor] = field(default_factory=dict, compare=False)  # see `factor`

    def factor(self, layer: int, device: torch.device) -> Tensor:
        """The lower Cholesky factor of a layer's second moment, (d_in, d_in) float64, cached.

        Raises: SingularSystem: the second moment has none.
        """
        if layer not in self.factors:
            self.factors[layer] = cholesky(self.layers[layer].to(device).double())
        return self.factors[layer]


def build_moments(
    model: EditableModel,
    layers: Sequence[int],
    *,
    tokens: int,
    source: TextSource,
    partial: Path | None = None,
    progress: Progress = silent,
) -> Moments:
    """Second moments over at least `tokens` tokens of a source, or over all of it if it has fewer.

    One pass through the model, which stops at the last of the layers. partial: a folder that keeps
    the sums of an unfinished pass.

    Raises: DamagedArtefact: the source has no text, or the sums of the unfinished pass are damaged.
    BadSettings: a corpus file cannot be read.
    """
    identity = _identity(model, layers, source.name)
    sums, count, done = _resumed(model, layers, partial, identity)
    progress(STAGE, min(count, tokens), tokens)
    if isinstance(source, KeptText):  # writing the text takes most of the time

        def written(number: int) -> None:
            progress(STAGE, min(count + number, tokens - 1), tokens)

        source = replace(source, written=written)
    for ids in source.batches(model, done) if count < tokens else ():
        for layer, keys in _inputs(model, ids, layers).items():
            sums[layer] += (keys.T @ keys).cpu()
        count, done = count + ids.numel(), done + 1
        progress(STAGE, min(count, tokens), tokens)
        if count >= tokens:
            break
        if partial is not None and done % SAVE_EVERY_BATCHES == 0:
            _save_sums(partial, sums, identity | {"tokens": count, "batches": done})
    if not count:
        raise DamagedArtefact(
            model.path, "the corpus of the second moments has no text; give one or leave it out"
        )
    means = {layer: (total / count).float() for layer, total in sums.items()}
    return Moments(
        layers=means,
        tokens=count,
        source=source.name,
        fingerprint=model.fingerprint,
        dtype=model.dtype,
    )


def _identity(model: EditableModel, layers: Sequence[int], source: str) -> dict[str, Any]:
    return {"fingerprint": model.fingerprint, "layers": sorted(layers), "source": source}


def _resumed(
    model: EditableModel,
    layers: Sequence[int],
    partial: Path | None,
    identity: Mapping[str, Any],
) -> tuple[dict[int, Tensor], int, int]:
    """Sums, tokens and batches of an unfinished pass with this identity, or of a new one."""
    if partial is not None and partial.exists():
        manifest = verify_folder(partial)
        if {key: manifest.get(key) for key in identity} == dict(identity):
            sums = {int(name): total for name, total in load_file(partial / FILE).items()}
            return sums, int(manifest["tokens"]), int(manifest["batches"])
    width = {layer: model.weight(layer).shape[1] for layer in layers}
    return {layer: torch.zeros(d, d).double() for layer, d in width.items()}, 0, 0


def _save_sums(folder: Path, sums: Mapping[int, Tensor], manifest: Mapping[str, Any]) -> None:
    tensors = {str(layer): total for layer, total in sums.items()}
    write_folder(folder, lambda part: save_file(tensors, part / FILE), manifest)


@torch.no_grad()
def _inputs(model: EditableModel, ids: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
    """Inputs of the edited matrices at all tokens: layer -> (tokens, d_in) float64."""
    hidden, keys = model.embed(ids), {}
    for index in range(max(layers) + 1):
        if index in layers:
            with captured_input(model.mlp_out(index)) as inputs:
                hidden = model.run(hidden, index, index + 1)
            keys[index] = inputs[0].flatten(0, -2).double()
        else:
            hidden = model.run(hidden, index, index + 1)
    return keys


def moments_folder(
    workspace: Path,
    fingerprint: str,
    layer: int,
    tokens: int,
    source: str,
    dtype: str = "float32",
) -> Path:
    """The folder for the second moment of one layer; its name has everything that it depends on."""
    folder = _model_folder(workspace, fingerprint, dtype)
    return folder / f"{source[:20]}-{tokens}" / f"layer-{layer}"


def _model_folder(workspace: Path, fingerprint: str, dtype: str) -> Path:
    base = fingerprint[:16] if dtype == "float32" else f"{fingerprint[:16]}-{dtype}"
    return workspace / "moments" / base


def save_moments(moments: Moments, workspace: Path, *, tokens: int) -> tuple[Path, ...]:
    """Write one folder for each layer, complete or not at all, and return the folders.

    tokens: the sample size that was asked for, which is part of the folders' names.
    """
    return tuple(
        write_folder(
            moments_folder(
                workspace, moments.fingerprint, layer, tokens, moments.source, moments.dtype
            ),
            lambda part, matrix=matrix: save_file({"moment": matrix.contiguous()}, part / FILE),  # type: ignore[misc]
            {
                "fingerprint": moments.fingerprint,
                "layer": layer,
                "dtype": moments.dtype,
                "tokens": moments.tokens,
                "source": moments.source,
            },
        )
        for layer, matrix in sorted(moments.layers.items())
    )


def load_moments(folders: Iterable[Path], *, fingerprint: str) -> Moments:
    """Second moments of the model with this fingerprint, from one folder for each layer.

    Raises: DamagedArtefact: a file differs from its manifest. WrongModel: they are of another
    model.
    """
    layers: dict[int, Tensor] = {}
    manifest: dict[str, Any] = {}
    for folder in folders:
        manifest = verify_folder(folder)
        if manifest["fingerprint"] != fingerprint:
            raise WrongModel(
                f"{folder} holds the second moments of another model; "
                "build them with `factd stats build`"
            )
        layers[int(manifest["layer"])] = load_file(folder / FILE)["moment"]
    return Moments(
        layers=layers, tokens=manifest["tokens"], source=manifest["source"], fingerprint=fingerprint
    )


def moments_for(
    model: EditableModel,
    layers: Sequence[int],
    *,
    tokens: int,
    source: TextSource,
    workspace: Path,
    progress: Progress = silent,
) -> Moments:
    """The second moments of some layers, from the workspace.

    Missing ones are built in one pass and kept there.

    Raises: DamagedArtefact, BadSettings, as `build_moments` and `load_moments`.
    """
    folders = {
        layer: moments_folder(workspace, model.fingerprint, layer, tokens, source.name, model.dtype)
        for layer in layers
    }
    missing = [layer for layer, folder in folders.items() if not folder.exists()]
    if missing:
        named = "-".join(map(str, missing))
        partial = folders[missing[0]].parent / f"unfinished-{named}"
        text = source
        if isinstance(source, SelfGenerated):
            kept = _model_folder(workspace, model.fingerprint, model.dtype)
            text = KeptText(source, kept / f"text-{source.name}")
        built = build_moments(
            model, missing, tokens=tokens, source=text, partial=partial, progress=progress
        )
        save_moments(built, workspace, tokens=tokens)
        _delete(partial)
    return load_moments(folders.values(), fingerprint=model.fingerprint)


def _delete(partial: Path) -> None:
    """Delete the sums of a pass that is finished."""
    if partial.exists():
        for file in partial.iterdir():
            file.unlink()
        partial.rmdir()
