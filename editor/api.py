"""One call that computes a delta for edits, with any method."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from factd.editor import plugins
from factd.editor.deltas.checkpoint import read_config
from factd.editor.deltas.delta import Delta
from factd.editor.edits import Edit, EditBatch
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent
from factd.editor.settings import settings_from
from factd.editor.tuning.presets import preset_for


def edit(
    model: EditableModel,
    edits: Iterable[Edit],
    *,
    method: str = "memit",
    settings: Mapping[str, Any] | None = None,
    workspace: Path,
    progress: Progress = silent,
) -> Delta:
    """The delta that writes edits into the model.

    Use it with `applied`, `save_delta` and `write_checkpoint`.

    settings: override the published ones of the model, if there are any (editor/tuning/presets).
    workspace: a folder that keeps values and second moments between calls. The model itself is not
    changed.

    Raises: BadEdit, BadSettings, NotEditable, DamagedArtefact, SingularSystem (editor/errors.py).
    """
    module = plugins.load("factd.editor.methods", method)
    table = settings_table(model.path, module.Settings, settings or {})
    delta: Delta = module.edit(
        model,
        EditBatch.of(edits),
        settings=settings_from(module.Settings, table),
        workspace=workspace,
        progress=progress,
    )
    return delta


def settings_table(path: Path, settings: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """The table of settings for a method's class: the given ones over the checkpoint's preset.

    path: of the checkpoint. Most models have no preset; then the table holds the given settings
    alone.
    """
    known = {field.name for field in fields(settings)}
    preset = preset_for(read_config(path)) if (path / "config.json").is_file() else None
    published = {k: v for k, v in preset.memit.items() if k in known} if preset else {}
    return published | dict(given)
