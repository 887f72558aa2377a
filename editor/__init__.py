"""Edits the factual knowledge of a causal language model: MEMIT in the ledger form, checks, checkpoints.

    from editor import Edit, EditBatch, applied, load_model, write_checkpoint
    from editor.methods import memit

Names are loaded when they are first used, so that `import editor` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editor.checkpoint import verify_checkpoint, write_checkpoint
    from editor.delta import Delta, applied, load_delta, save_delta
    from editor.edits import Edit, EditBatch, read_edits
    from editor.model import EditableModel, load_model
    from editor.report import CheckReport, run_checks
    from editor.score import Probe, answers

_HOMES = {
    "editor.checkpoint": ("verify_checkpoint", "write_checkpoint"),
    "editor.delta": ("Delta", "applied", "load_delta", "save_delta"),
    "editor.edits": ("Edit", "EditBatch", "read_edits"),
    "editor.model": ("EditableModel", "load_model"),
    "editor.report": ("CheckReport", "run_checks"),
    "editor.score": ("Probe", "answers"),
}

__all__ = [  # the public names; each from the module of _HOMES
    "CheckReport",
    "Delta",
    "Edit",
    "EditBatch",
    "EditableModel",
    "Probe",
    "answers",
    "applied",
    "load_delta",
    "load_model",
    "read_edits",
    "run_checks",
    "save_delta",
    "verify_checkpoint",
    "write_checkpoint",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'editor' has no attribute {name!r}")
