"""Folders that tests read."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]  # of the repository
GOLDEN = (
    ROOT / "tests" / "data" / "golden"
)  # tiny trained models, and the results of the public MEMIT code
