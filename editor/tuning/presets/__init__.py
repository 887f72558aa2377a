"""Settings that were published for models, one TOML file each. `factd tune` finds better ones where it can run."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Preset:
    """Published settings of one model."""

    name: str
    source: str
    match: Mapping[str, Any]  # keys of config.json and their values
    memit: Mapping[str, Any]  # the [method.memit] table


def presets() -> tuple[Preset, ...]:
    """All of them, by name."""
    found = []
    for path in sorted(Path(__file__).parent.glob("*.toml")):
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        found.append(
            Preset(name=path.stem, source=data["source"], match=data["match"], memit=data["memit"])
        )
    return tuple(found)


def preset_for(config: Mapping[str, Any]) -> Preset | None:
    """The preset whose model has this config.json, by kind, width and depth."""
    return next((p for p in presets() if all(config.get(k) == v for k, v in p.match.items())), None)
