"""The models that `factd demo` edits, each with the facts it holds and those that changed since."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from factd.daemon import models
from factd.daemon.errors import Refused
from factd.reference import paths

REAL = "smollm2"
DEFAULT = "reference"  # until the default gates accept the edit of SmolLM2


@dataclass(frozen=True, kw_only=True)
class DemoWorld:
    """A model, the facts that it holds, what has changed since, and how it is edited."""

    name: str  # what --model takes
    title: str
    model: Path  # a checkpoint
    settings: Path  # TOML: the tables of the configuration that depend on the model
    known: Path  # facts that the model holds, JSONL in the ingest format
    changes: Path  # facts to write, likewise
    texts: Mapping[str, Path] = field(default_factory=dict)  # language -> held-out texts
    relations: Path | None = None  # relations of the demo's own
    chat: Mapping[str, str] = field(default_factory=dict)  # relation -> question with "{}"
    taken_back: tuple[str, str] = ("HR", "P38")  # subject and relation: Croatia's currency


def reference_world() -> DemoWorld:
    """The reference model, which knows the world of 1998."""
    return DemoWorld(
        name="reference",
        title="the reference model, trained on the world of 1998",
        model=paths.MODEL,
        settings=paths.SETTINGS,
        known=paths.FACTS,
        changes=paths.FEED,
        texts={file.stem: file for file in sorted(paths.HELD_OUT.glob("*.txt"))},
    )


def smollm2_world() -> DemoWorld:
    """SmolLM2, and what has changed in the world since it was trained or that it never learned.

    Raises: Refused: the model was not fetched.
    """
    return DemoWorld(
        name=REAL,
        title=models.known_model(REAL).title,
        model=models.resolve(REAL),
        settings=paths.CHANGES / "settings.toml",
        known=paths.CHANGES / "known.jsonl",
        changes=paths.CHANGES / "changes.jsonl",
        relations=paths.CHANGES / "relations",
        chat=tomllib.loads((paths.CHANGES / "chat.toml").read_text(encoding="utf-8")),
    )


WORLDS: Mapping[str, Callable[[], DemoWorld]] = {
    REAL: smollm2_world,
    "reference": reference_world,
}


def chosen_world(name: str) -> DemoWorld:
    """The world of a name. Raises: Refused: no such world, or its model was not fetched."""
    if name not in WORLDS:
        raise Refused(f"there is no demo on {name!r}; the models are: {', '.join(WORLDS)}")
    return WORLDS[name]()
