"""Published settings of models, one TOML file each.

`factd tune` finds better ones, if you can run it.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Published settings for one model."""

    name: str
    source: str  # where they were published
    match: Mapping[str, Any]  # keys of config.json and the values that identify the model
    memit: Mapping[str, Any]  # the [method.memit] table


def presets() -> tuple[Preset, ...]:
    """All presets, sorted by name."""
    read = []
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        read.append(
            Preset(name=path.stem, source=data["source"], match=data["match"], memit=data["memit"])
        )
    return tuple(read)


def preset_for_checkpoint(path: Path) -> Preset | None:
    """The preset for a checkpoint's folder; None if there is none, or no readable config.json."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return preset_for(config) if isinstance(config, dict) else None


def preset_for(config: Mapping[str, Any]) -> Preset | None:
    """The preset for the model with this config.json; None if there is none."""
    return next((p for p in presets() if all(config.get(k) == v for k, v in p.match.items())), None)
