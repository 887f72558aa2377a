"""Exporting a release into a folder of its own, from its base and delta. Nothing is published.

No model is loaded and no GPU is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import factd.daemon.publishers
from factd.daemon.errors import PublishFailed, Refused
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.publishers import Outgoing
from factd.daemon.publishing.version_files import outgoing_of
from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import write_sealed_folder
from factd.editor.files.manifests import read_manifest
from factd.store import queries
from factd.store.model.releases import Release

WHO = "factd export"


class Form(StrEnum):
    """The form of an export. The publisher of `lora` is called `adapter`."""

    CHECKPOINT = "checkpoint"
    LORA = "lora"

    @property
    def publisher(self) -> str:
        """The name of the file in daemon/publishers."""
        return "adapter" if self is Form.LORA else "checkpoint"


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """The release to export, and the form."""

    number: int  # of the release
    form: Form
    settings: Mapping[str, Any]  # of the publisher: dtype, max_rank, truncate
    unchecked: bool = False  # also a truncated adapter that did not pass the gates


def export(ledger: Ledger, paths: Paths, request: ExportRequest, out: Path) -> dict[str, Any]:
    """Write a release into a folder, completely or not at all. Returns the manifest.

    An earlier export in this folder is replaced.
    Raises: Refused: the folder holds something else, or the release has no such form. BadConfig,
    EditorError.
    """
    out = out.resolve()
    refuse_foreign(out)
    with ledger.read() as session:
        release = queries.releases.release(session, request.number)
    outgoing = source_of(ledger, paths, release, request.form)
    about = {
        "made_by": WHO,
        "format": request.form.value,
        "release": release.number,
        "facts": list(release.fact_ids),
    }
    write_sealed_folder(out, partial(_fill, request, outgoing), about)
    return read_manifest(out)


def refuse_foreign(out: Path) -> None:
    """Raises: Refused: the folder holds something that `factd export` did not write."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        ours = read_manifest(out).get("made_by") == WHO
    except DamagedArtefact:
        ours = False
    if not ours:
        raise Refused(f"{out} exists and was not written by `{WHO}`; name an empty or new folder")


def source_of(ledger: Ledger, paths: Paths, release: Release, form: Form) -> Outgoing:
    """What a release is exported from.

    Raises: Refused: a base has no adapter, or the delta was pruned. EditorError.
    """
    number, made = release.number, release.candidate_id if release.number else None
    if made is None and form is Form.LORA:
        raise Refused(
            f"release {number} is a base, so its adapter would be zeros; use --format checkpoint"
        )
    if made is not None and not (paths.candidate(made) / "delta").is_dir():
        raise Refused(f"the delta of release {number} was pruned; restore it from a backup")
    return outgoing_of(ledger, paths, replace(release, candidate_id=made))


def _fill(request: ExportRequest, outgoing: Outgoing, folder: Path) -> Mapping[str, Any]:
    from factd.daemon.plugins import load_plugin

    kind = request.form.publisher
    own = (
        request.settings if request.form is Form.LORA else {"share": "copy"}
    )  # shares no file with the base
    module, settings = load_plugin(factd.daemon.publishers, "export", {"kind": kind, **own})
    try:
        about: Mapping[str, Any] = module.write(settings, outgoing, folder)
    except PublishFailed as error:
        if not request.unchecked:
            raise Refused(f"{error}; or export it unchecked, with --unchecked") from error
        about = {**_unchecked(settings, outgoing, folder), "checked": False}
    if request.form is Form.LORA and not about["rank"]:
        raise Refused(
            f"release {outgoing.number} changes nothing, so its adapter would be zeros; "
            "use --format checkpoint"
        )
    return about


def _unchecked(settings: Any, outgoing: Outgoing, folder: Path) -> Mapping[str, Any]:
    """Write a truncated adapter that was not measured."""
    from factd.editor.deltas.lora import fill_adapter
    from factd.editor.deltas.truncation import truncate

    cut = truncate(outgoing.delta, settings.max_rank)
    form = {"dtype": settings.dtype, "max_rank": settings.max_rank, "truncated": cut}
    return fill_adapter(outgoing.delta, outgoing.base, folder, **form)
