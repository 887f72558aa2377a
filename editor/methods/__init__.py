"""Editing methods, one file each: a frozen `Settings` and a function `edit`."""

from pathlib import Path
from typing import Any, Protocol

from factd.editor.deltas.delta import Delta
from factd.editor.edits import EditBatch
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent


class Method(Protocol):
    """Writes a batch into a model's weights; the model itself is as before afterwards."""

    def __call__(
        self,
        model: EditableModel,
        batch: EditBatch,
        *,
        settings: Any,
        workspace: Path,
        progress: Progress = silent,
    ) -> Delta:
        """What to add to the base weights. workspace keeps values and statistics between calls."""
        ...
