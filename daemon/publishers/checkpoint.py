"""A complete Hugging Face model directory, which `from_pretrained`, vLLM and SGLang load as they load any other."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from factd.daemon.log import log
from factd.daemon.publishers import Outgoing, Publisher, PublisherSettings
from factd.editor.files.copying import Links, copied
from factd.editor.files.folders import sha256_file
from factd.editor.files.manifests import REPORT


class CheckpointSettings(PublisherSettings):
    """[publish.checkpoint]"""

    share: Literal["hardlink", "copy"] = "hardlink"  # what holds no edited tensor, with the base
    report: bool = True  # with what was measured and what a server must say: questions and answers about each fact


Settings = CheckpointSettings  # the plugin loader looks for this name


def write(settings: CheckpointSettings, release: Outgoing, folder: Path) -> Mapping[str, Any]:
    """Base and delta, summed and rounded once; the candidate's report beside them. Raises: EditorError."""
    from factd.editor.deltas.checkpoint import fill_checkpoint

    links = Links()
    bring = links if settings.share == "hardlink" else copied
    told = fill_checkpoint(release.base, release.delta, folder, bring=bring, sha256=release.sha256)
    tell_copied(links)
    warn_unreadable(folder)
    return {**told, "report": with_report(release, folder) if settings.report else None}


def with_report(release: Outgoing, folder: Path) -> dict[str, str] | None:
    """The candidate's report as a file of the version: its name and its SHA-256; None where there is none."""
    made = release.made and release.made / REPORT
    if not made or not made.is_file():
        return None
    (folder / REPORT).write_bytes(made.read_bytes())
    return {"path": REPORT, "sha256": sha256_file(folder / REPORT)}


def tell_copied(links: Links) -> None:
    """Where files could not be linked a version takes the disk and the time of a copy: say it, and why."""
    if links.refused:
        file, why = next(iter(links.refused.items()))
        log.info(
            "files of the base were copied, for they cannot be linked",
            file=str(file),
            why=why,
            more=len(links.refused) - 1,
        )


def warn_unreadable(folder: Path) -> None:
    """A linked file has the mode of the base's, which is not ours to change: say it where other users cannot read it."""
    linked = [path for path in sorted(folder.iterdir()) if path.stat().st_nlink > 1]
    closed = [path.name for path in linked if not path.stat().st_mode & stat.S_IROTH]
    if closed:
        log.warning(
            "linked files of the base are not readable by others; if servers run as another user, chmod them in the base",
            file=closed[0],
            more=len(closed) - 1,
            chmod="a+r",
        )


_: Publisher = write
