"""A release as a folder of its own, anywhere: from the base and the release's delta, without a model and without publishing."""

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
    """What it is written as; the publisher that writes it has another name for an adapter."""

    CHECKPOINT = "checkpoint"
    LORA = "lora"

    @property
    def publisher(self) -> str:
        """The file in daemon/publishers."""
        return "adapter" if self is Form.LORA else "checkpoint"


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """What is to be exported, and how."""

    number: int  # of the release
    form: Form
    settings: Mapping[str, Any]  # of the publisher: dtype, max_rank, truncate
    unchecked: bool = False  # an adapter that is cut need not have passed the gates


def export(ledger: Ledger, paths: Paths, order: ExportRequest, out: Path) -> dict[str, Any]:
    """A folder with a release, whole or not at all, and its manifest; one that was exported there before is replaced.

    Raises: Refused: the folder holds something else, or the release cannot be exported so. BadConfig, EditorError.
    """
    out = out.resolve()
    refuse_foreign(out)
    with ledger.read() as session:
        release = queries.releases.release(session, order.number)
    outgoing = source_of(ledger, paths, release, order.form)
    about = {
        "made_by": WHO,
        "format": order.form.value,
        "release": release.number,
        "facts": list(release.fact_ids),
    }
    write_sealed_folder(out, partial(_fill, order, outgoing), about)
    return read_manifest(out)


def refuse_foreign(out: Path) -> None:
    """Raises: Refused: something is there that this program did not export."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        ours = read_manifest(out).get("made_by") == WHO
    except DamagedArtefact:
        ours = False
    if not ours:
        raise Refused(
            f"{out} is there and was not written by `{WHO}`; name a folder that is empty or new"
        )


def source_of(ledger: Ledger, paths: Paths, release: Release, form: Form) -> Outgoing:
    """What a release is exported from. Raises: Refused: an adapter of a base is wanted, or the delta is gone; EditorError."""
    number, made = release.number, release.candidate_id if release.number else None
    if made is None and form is Form.LORA:
        raise Refused(
            f"release {number} is a base, whose adapter would be zeros; use --format checkpoint"
        )
    if made is not None and not (paths.candidate(made) / "delta").is_dir():
        raise Refused(f"the delta of release {number} was pruned; restore it from a backup")
    return outgoing_of(ledger, paths, replace(release, candidate_id=made))


def _fill(order: ExportRequest, outgoing: Outgoing, folder: Path) -> Mapping[str, Any]:
    from factd.daemon.plugins import load_plugin

    kind = order.form.publisher
    own = order.settings if order.form is Form.LORA else {"share": "copy"}  # nothing of the base
    module, settings = load_plugin(factd.daemon.publishers, "export", {"kind": kind, **own})
    try:
        told: Mapping[str, Any] = module.write(settings, outgoing, folder)
    except PublishFailed as error:
        if not order.unchecked:
            raise Refused(f"{error}; or write it as it is, with --unchecked") from error
        told = {**_unchecked(settings, outgoing, folder), "checked": False}
    if order.form is Form.LORA and not told["rank"]:
        raise Refused(
            f"release {outgoing.number} changes nothing, its adapter would be zeros; use --format checkpoint"
        )
    return told


def _unchecked(settings: Any, outgoing: Outgoing, folder: Path) -> Mapping[str, Any]:
    """An adapter cut to its rank that nothing was asked."""
    from factd.editor.deltas.lora import fill_adapter
    from factd.editor.deltas.truncation import truncated

    cut = truncated(outgoing.delta, settings.max_rank)
    form = {"dtype": settings.dtype, "max_rank": settings.max_rank, "kept": cut}
    return fill_adapter(outgoing.delta, outgoing.base, folder, **form)
