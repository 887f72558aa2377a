"""Head corrections as an artefact of their own: one for each base model and language.

They are trained rarely and used on later candidates. They can be switched off and on again, and
withdrawn; their file does not change. Deltas of facts never contain them: `with_heads` adds them to
a delta when a candidate is made.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from factd.editor.deltas.delta import Delta, Dense, Part
from factd.editor.errors import BadSettings, WrongModel
from factd.editor.files.folders import verify_folder, write_folder
from factd.editor.heads.biases import layer_biases
from factd.editor.models.model import EditableModel

FILE = "heads.safetensors"
STATES = ("on", "off", "withdrawn")


@dataclass(frozen=True, kw_only=True)
class HeadCorrections:
    """Constant corrections of attention heads for one language."""

    language: str  # BCP 47
    base_fingerprint: str
    trained_on: str  # id of the delta that was in place when they were trained
    heads: tuple[tuple[int, int], ...]  # (layer, head), best first
    vectors: Tensor  # (heads, d_head) float32
    relevance: Tensor  # (layers, heads) float32, validation accuracy of each head's probe
    gains: Tensor  # (layers, heads) float32, nats; zeros unless the gradient chose the heads
    facts: int  # pairs of sentences in the probe data
    settings: Mapping[str, Any]  # a `HeadSettings`

    @property
    def id(self) -> str:
        """SHA-256 of all fields, hexadecimal."""
        digest = hashlib.sha256(json.dumps(self.about(), sort_keys=True).encode())
        for tensor in (self.vectors, self.relevance, self.gains):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()

    def about(self) -> dict[str, Any]:
        """All fields that are not tensors, ready for JSON."""
        return {
            "language": self.language,
            "base_fingerprint": self.base_fingerprint,
            "trained_on": self.trained_on,
            "heads": [list(pair) for pair in self.heads],
            "facts": self.facts,
            "settings": dict(self.settings),
        }


def with_heads(model: EditableModel, delta: Delta, corrections: Sequence[HeadCorrections]) -> Delta:
    """A delta that also adds corrections, folded into biases and summed over languages.

    The delta's own bytes stay the same: leaving the corrections out gives the old delta again.

    Raises: WrongModel: corrections were trained for another base. NotEditable: the model has no
    attention.
    """
    parts: dict[str, Part] = dict(delta.parts)
    for own in corrections:
        if own.base_fingerprint != model.fingerprint:
            raise WrongModel(
                f"the head corrections {own.id[:12]} ({own.language}) are for the base "
                f"{own.base_fingerprint[:12]}, this model is {model.fingerprint[:12]}; "
                "train them again"
            )
        released = own.settings.get("form") == "as-released"
        for layer, bias in layer_biases(model, own.heads, own.vectors, overwrite=released).items():
            name = model.head_bias(layer)
            before = parts[name].matrix() if name in parts else torch.zeros_like(bias).cpu()
            parts[name] = Dense((before + bias.cpu()).contiguous())
    if not corrections:
        return delta
    settings = {**delta.settings, "head_corrections": [own.id for own in corrections]}
    return replace(delta, parts=parts, settings=settings)


def without_heads(delta: Delta) -> Delta:
    """The delta of the facts alone, as `with_heads` was given it.

    Methods write weights; only head corrections write biases.
    """
    parts = {name: part for name, part in delta.parts.items() if not name.endswith(".bias")}
    settings = {k: v for k, v in delta.settings.items() if k != "head_corrections"}
    return replace(delta, parts=parts, settings=settings)


def corrections_folder(workspace: Path, fingerprint: str, language: str) -> Path:
    """The folder for the corrections of a base and a language."""
    return workspace / "heads" / fingerprint[:16] / language


def save_corrections(corrections: HeadCorrections, workspace: Path) -> Path:
    """Write corrections with a manifest, switched on, and return their folder.

    Earlier corrections of the language for the same base are replaced.
    """
    tensors = {
        name: getattr(corrections, name).contiguous() for name in ("vectors", "relevance", "gains")
    }
    folder = corrections_folder(workspace, corrections.base_fingerprint, corrections.language)
    manifest = corrections.about() | {"id": corrections.id}
    write_folder(folder, lambda part: save_file(tensors, part / FILE), manifest)
    _state_file(folder).write_text("on\n", encoding="utf-8")
    return folder


def load_corrections(folder: Path) -> HeadCorrections:
    """Corrections from their folder. Raises: DamagedArtefact: a file differs from its manifest."""
    manifest, tensors = verify_folder(folder), load_file(folder / FILE)
    return HeadCorrections(
        language=manifest["language"],
        base_fingerprint=manifest["base_fingerprint"],
        trained_on=manifest["trained_on"],
        heads=tuple((int(layer), int(head)) for layer, head in manifest["heads"]),
        vectors=tensors["vectors"],
        relevance=tensors["relevance"],
        gains=tensors["gains"],
        facts=manifest["facts"],
        settings=manifest["settings"],
    )


def _state_file(folder: Path) -> Path:
    return folder.with_name(folder.name + ".state")


def state_of(folder: Path) -> str:
    """The state of the corrections in a folder: one of `STATES`, or "none" if it has none."""
    if not folder.exists():
        return "none"
    return _state_file(folder).read_text(encoding="utf-8").strip()


def switch(workspace: Path, fingerprint: str, language: str, state: str) -> Path:
    """Switch the corrections of a language on or off, or withdraw them, and return their folder.

    Withdrawn corrections are never switched on again; new ones are trained in their place.

    Raises: BadSettings: the language has no corrections, they were withdrawn, or the state is
    unknown.
    """
    folder = corrections_folder(workspace, fingerprint, language)
    now = state_of(folder)
    if state not in STATES or now in ("none", "withdrawn"):
        raise BadSettings(
            f"the head corrections of {language!r} cannot be switched {state}: state is {now}; "
            f"train them with `factd heads train {language}`"
        )
    part = _state_file(folder).with_suffix(".tmp")
    part.write_text(state + "\n", encoding="utf-8")
    part.replace(_state_file(folder))
    return folder


def list_corrections(workspace: Path, fingerprint: str) -> tuple[tuple[HeadCorrections, str], ...]:
    """All corrections for a base, each with its state, ordered by language.

    Raises: DamagedArtefact: a file differs from its manifest.
    """
    base = workspace / "heads" / fingerprint[:16]
    folders = sorted(path for path in base.glob("*") if path.is_dir()) if base.exists() else []
    return tuple((load_corrections(folder), state_of(folder)) for folder in folders)


def switched_on(workspace: Path, fingerprint: str) -> tuple[HeadCorrections, ...]:
    """The corrections for a base that a new candidate gets, ordered by language."""
    return tuple(c for c, state in list_corrections(workspace, fingerprint) if state == "on")
