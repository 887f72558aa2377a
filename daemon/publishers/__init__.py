"""Publishers, one file each: what they write of a release into its version. `Settings` is the table of the configuration.

`checkpoint` fills the version's own folder; any other, which [publish.NAME] switches on, a folder in it that has its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from factd.editor.files.folders import Sha256, sha256_file


class PublisherSettings(BaseModel):
    """What every [publish.NAME] has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """The file in `daemon/publishers`; default: the name of the table."""
    enabled: bool = True
    """Write this form."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A release on its way out."""

    number: int
    base: Path  # the checkpoint that it is made from
    delta: Any  # factd.editor.deltas.delta.Delta; None: the base itself
    made: Path | None  # its candidate's folder, with what the worker that made it left there
    sha256: Sha256 = sha256_file  # may know the base's files, so that they are not read


class Publisher(Protocol):
    """Writes one form of a release."""

    def __call__(self, settings: Any, release: Outgoing, folder: Path) -> Mapping[str, Any]:
        """Fill an empty folder, or for the checkpoint the version's own; what the manifest is to say about it.

        Raises: PublishFailed, EditorError: the release cannot be published in this form; the sentence says what to do.
        """
        ...
