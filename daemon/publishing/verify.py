"""Checks that a published version is, bit for bit, what was written.

This is done before a version becomes `current`, later on demand, and on other machines. It needs no
model, database or GPU: `factd releases verify N --folder PUBLISHED` runs where the files are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import PublishFailed
from factd.daemon.publishing.signing import PublicKey, expected_key, signed_by
from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import verify_folder, verify_sealed_folder, verify_sizes
from factd.editor.files.manifests import MANIFEST, predates_seals, read_manifest, read_sealed


@dataclass(frozen=True, kw_only=True)
class VerifiedVersion:
    """A version whose files are, to the bit, those of its manifest."""

    folder: Path
    release: int
    files: int
    signed_by: str | None  # the id of the key. None: the version is unsigned

    def as_json(self) -> dict[str, Any]:
        """The result for `--json`."""
        return {**vars(self), "folder": str(self.folder), "ok": True}

    def sentence(self) -> str:
        """The result for people."""
        signed = f"signed with the key {self.signed_by}" if self.signed_by else "unsigned"
        return f"{self.folder}: {self.files} files are those of the manifest, {signed}"


def folder_of(published: Path, number: int) -> Path:
    """The folder of a version in a published folder.

    If only the version was copied, `published` is the version's own folder.
    """
    inside = published / "versions" / str(number)
    return published if not inside.exists() and (published / MANIFEST).exists() else inside


def verify(folder: Path, number: int, key: PublicKey | None) -> VerifiedVersion:
    """Read every byte of a version and compare it with the manifest.

    key: the key that it must be signed with. None: any key, or no signature.
    Raises: DamagedArtefact: it names the first file that differs, is missing or is not listed.
    """
    if predates_seals(read_manifest(folder)):
        raise DamagedArtefact(
            folder / MANIFEST,
            "an earlier factd wrote it, without a seal; "
            f"`factd releases write {number}` writes the version again",
        )
    manifest = read_sealed(folder)  # before the signature, so that the damaged file is named
    if manifest.get("release") != number:
        raise DamagedArtefact(
            folder / MANIFEST, f"it is of release {manifest.get('release')}, not of {number}"
        )
    signer = signed_by(folder, key)
    verify_sealed_folder(folder)
    return VerifiedVersion(
        folder=folder,
        release=number,
        files=len(manifest["files"]),
        signed_by=signer.id if signer else None,
    )


def verify_version(versions: Versions, number: int, *, whole: bool = True) -> None:
    """Check a version before it becomes `current`.

    whole: read every byte and check the signature. Otherwise only sizes are compared, as for a
    rollback, which must not take the minutes that reading a large model takes. A damaged version no
    longer counts as on disk, so the next attempt writes it again.

    Raises: PublishFailed: the version is damaged; the error names the file. BadConfig: a key cannot
    be read.
    """
    folder, key = versions.folder(number), expected_key(versions.table)
    try:
        if whole:
            verify(folder, number, key)
        else:
            verify_sizes(folder)
    except DamagedArtefact as error:
        versions.discard(number)
        raise PublishFailed(
            f"{error} (`factd releases write {number}` writes the version again)"
        ) from error


def damage(folder: Path, number: int) -> str:
    """How a version's files differ from its manifest. Empty if they do not.

    Versions of an earlier factd, which have no seal, are checked as well.
    """
    try:
        if predates_seals(read_manifest(folder)):
            verify_folder(folder)
        else:
            verify(folder, number, None)
    except DamagedArtefact as error:
        return str(error)
    return ""
