"""Publishers, one file each. A publisher writes one form of a release into its version.

Each file has `Settings`, the class for its table of the configuration, and `write`. `checkpoint`
fills the version's own folder. Any other publisher, enabled by a table [publish.NAME], fills a
folder NAME inside it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from factd.editor.files.folders import Sha256, sha256_file


class PublisherSettings(BaseModel):
    """The keys that every [publish.NAME] table has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """The file in `daemon/publishers`; default: the name of the table."""
    enabled: bool = True
    """Write this form."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A release that is being written."""

    number: int
    base: Path  # the checkpoint that the delta is added to
    delta: Any  # factd.editor.deltas.delta.Delta; None: the base itself
    made: Path | None  # the folder of its candidate: report, answers, proof. None: the base
    # (rank, folder) -> the delta cut to a rank, if the gates accepted it; its proof goes to folder
    cut: Callable[[int, Path], Any] | None = None
    sha256: Sha256 = sha256_file  # may know the base's checksums, so that its files are not read


class Publisher(Protocol):
    """The function `write` of a publisher's file."""

    def __call__(self, settings: Any, release: Outgoing, folder: Path) -> Mapping[str, Any]:
        """Fill a folder, and return the manifest's entries about it.

        The folder is empty. For the checkpoint it is the version's own folder.
        Raises: PublishFailed, EditorError: the release cannot be published in this form. The error
        says what to do.
        """
        ...
