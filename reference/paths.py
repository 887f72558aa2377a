"""The paths of the reference artefacts in the repository."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent
MODEL = ROOT / "model"
FACTS = ROOT / "data" / "facts-1998.jsonl"
FEED = ROOT / "data" / "feed.jsonl"
HELD_OUT = ROOT / "data" / "held-out"
SETTINGS = ROOT / "settings.toml"
CHANGES = ROOT / "changes"  # what changed in the world, for a real model
HELD_OUT_WORLD = ROOT / "held-out.toml"
