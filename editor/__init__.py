"""Edits the factual knowledge of a causal language model: methods, checks and checkpoints.

    from factd.editor import Edit, applied, edit, load_model, write_checkpoint

The names below are the public interface; everything else may change. A name is loaded when it is
first used, so that `import factd.editor` does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from factd.editor.api import edit
    from factd.editor.deltas.checkpoint import verify_checkpoint, write_checkpoint
    from factd.editor.deltas.delta import Delta, applied, load_delta, save_delta
    from factd.editor.edits import Edit, EditBatch, read_edits
    from factd.editor.exams.report import CheckReport, run_checks
    from factd.editor.heads.corrections import HeadCorrections, with_heads
    from factd.editor.models.model import EditableModel, load_model
    from factd.editor.scoring.score import Probe, answers
    from factd.editor.tuning.causal_tracing import Trace, trace
    from factd.editor.tuning.known import known_facts
    from factd.editor.tuning.search import Tuned, tune

_HOMES = {  # module -> its public names
    "factd.editor.api": ("edit",),
    "factd.editor.heads.corrections": ("HeadCorrections", "with_heads"),
    "factd.editor.tuning.causal_tracing": ("Trace", "trace"),
    "factd.editor.tuning.known": ("known_facts",),
    "factd.editor.tuning.search": ("Tuned", "tune"),
    "factd.editor.deltas.checkpoint": ("verify_checkpoint", "write_checkpoint"),
    "factd.editor.deltas.delta": ("Delta", "applied", "load_delta", "save_delta"),
    "factd.editor.edits": ("Edit", "EditBatch", "read_edits"),
    "factd.editor.models.model": ("EditableModel", "load_model"),
    "factd.editor.exams.report": ("CheckReport", "run_checks"),
    "factd.editor.scoring.score": ("Probe", "answers"),
}

__all__ = [  # the names in _HOMES
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
    raise AttributeError(f"module 'factd.editor' has no attribute {name!r}")
