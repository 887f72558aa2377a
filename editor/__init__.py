"""Edits the factual knowledge of a causal language model: MEMIT in the ledger form, MEMAT and others, checks, checkpoints.

    from editor import Edit, applied, edit, load_model, write_checkpoint

What is below is the public interface; everything else may change. Names are loaded when they are first used, so that
`import editor` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from editor.api import edit
    from editor.checkpoint import verify_checkpoint, write_checkpoint
    from editor.corrections import HeadCorrections, with_heads
    from editor.delta import Delta, applied, load_delta, save_delta
    from editor.edits import Edit, EditBatch, read_edits
    from editor.model import EditableModel, load_model
    from editor.report import CheckReport, run_checks
    from editor.score import Probe, answers
    from editor.tracing import Trace, trace
    from editor.tuning import Tuned, known_facts, tune

_HOMES = {
    "editor.api": ("edit",),
    "editor.corrections": ("HeadCorrections", "with_heads"),
    "editor.tracing": ("Trace", "trace"),
    "editor.tuning": ("Tuned", "known_facts", "tune"),
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
    "HeadCorrections",
    "Probe",
    "Trace",
    "Tuned",
    "answers",
    "applied",
    "edit",
    "known_facts",
    "load_delta",
    "load_model",
    "read_edits",
    "run_checks",
    "save_delta",
    "trace",
    "tune",
    "verify_checkpoint",
    "with_heads",
    "write_checkpoint",
]


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'editor' has no attribute {name!r}")
