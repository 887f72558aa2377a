"""A complete Hugging Face model folder, which `from_pretrained`, vLLM and SGLang load."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from factd.daemon.log import log
from factd.daemon.publishers import Outgoing, Publisher, PublisherSettings
from factd.editor.files.copying import HardLinks, copy_file
from factd.editor.files.folders import sha256_file
from factd.editor.files.manifests import REPORT


class CheckpointSettings(PublisherSettings):
    """[publish.checkpoint]"""

    share: Literal["hardlink", "copy"] = "hardlink"
    """How files without an edited tensor share their bytes with the base."""
    report: bool = True
    """Include report.json and proof.json: questions and answers about each fact."""


Settings = CheckpointSettings  # the plugin loader looks for this name


def write(settings: CheckpointSettings, release: Outgoing, folder: Path) -> Mapping[str, Any]:
    """Write base + delta, summed and rounded once, and the candidate's report.

    Raises: EditorError.
    """
    from factd.editor.deltas.checkpoint import fill_checkpoint

    links = HardLinks()
    bring = links if settings.share == "hardlink" else copy_file
    about = fill_checkpoint(release.base, release.delta, folder, bring=bring, sha256=release.sha256)
    log_copied(links)
    warn_unreadable(folder)
    return {**about, "report": copy_report(release, folder) if settings.report else None}


def copy_report(release: Outgoing, folder: Path) -> dict[str, str] | None:
    """Copy the candidate's report into the version: its name and SHA-256. None: there is none."""
    made = release.made and release.made / REPORT
    if not made or not made.is_file():
        return None
    (folder / REPORT).write_bytes(made.read_bytes())
    return {"path": REPORT, "sha256": sha256_file(folder / REPORT)}


def log_copied(links: HardLinks) -> None:
    """Log that files could not be linked, so that the version takes the disk space of a copy."""
    if links.refused:
        file, why = next(iter(links.refused.items()))
        log.info(
            "files of the base were copied, for they cannot be linked",
            file=str(file),
            why=why,
            more=len(links.refused) - 1,
        )


def warn_unreadable(folder: Path) -> None:
    """Warn of linked files that other users cannot read. They have the mode of the base's files."""
    linked = [path for path in sorted(folder.iterdir()) if path.stat().st_nlink > 1]
    closed = [path.name for path in linked if not path.stat().st_mode & stat.S_IROTH]
    if closed:
        log.warning(
            "linked files of the base are not readable by others; "
            "if servers run as another user, chmod them in the base",
            file=closed[0],
            more=len(closed) - 1,
            chmod="a+r",
        )


_: Publisher = write
