"""Editing methods, one file each: a frozen settings class, named `Settings`, and a function `edit`.

A method turns a batch of edits into a delta. It never leaves a model changed; applying and writing
deltas belongs to `deltas`.
"""

from pathlib import Path
from typing import Any, Protocol

from factd.editor.deltas.delta import Delta
from factd.editor.edits import EditBatch
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent


class Method(Protocol):
    """The function `edit` of a method. The model is the same afterwards as before."""

    def __call__(
        self,
        model: EditableModel,
        batch: EditBatch,
        *,
        settings: Any,
        workspace: Path,
        progress: Progress = silent,
    ) -> Delta:
        """The delta that writes the batch into the base weights.

        workspace: a folder that keeps values and second moments between calls.
        """
        ...
