"""Edits the factual knowledge of a causal language model: MEMIT in the ledger form, MEMAT and others, checks, checkpoints.

    from editor import Edit, applied, edit, load_model, write_checkpoint

What is below is the public interface; everything else may change. Names are loaded when they are first used, so that
`import editor` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factd.editor.api import edit
    from factd.editor.checkpoint import verify_checkpoint, write_checkpoint
    from factd.editor.corrections import HeadCorrections, with_heads
    from factd.editor.delta import Delta, applied, load_delta, save_delta
    from factd.editor.edits import Edit, EditBatch, read_edits
    from factd.editor.model import EditableModel, load_model
    from factd.editor.report import CheckReport, run_checks
    from factd.editor.score import Probe, answers
    from factd.editor.tracing import Trace, trace
    from factd.editor.tuning import Tuned, known_facts, tune

_HOMES = {
    "factd.editor.api": ("edit",),
    "factd.editor.corrections": ("HeadCorrections", "with_heads"),
    "factd.editor.tracing": ("Trace", "trace"),
    "factd.editor.tuning": ("Tuned", "known_facts", "tune"),
    "factd.editor.checkpoint": ("verify_checkpoint", "write_checkpoint"),
    "factd.editor.delta": ("Delta", "applied", "load_delta", "save_delta"),
    "factd.editor.edits": ("Edit", "EditBatch", "read_edits"),
    "factd.editor.model": ("EditableModel", "load_model"),
    "factd.editor.report": ("CheckReport", "run_checks"),
    "factd.editor.score": ("Probe", "answers"),
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
