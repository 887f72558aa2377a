"""Is a published version, bit for bit, what was written? Before it becomes `current`, later, and on other machines.

Needs no model, no database and no GPU: `factd releases verify N --folder PUBLISHED` runs where the files are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import PublishFailed
from factd.daemon.publishing.signing import PublicKey, expected_key, signed_by
from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import verify_folder, verify_sealed_folder, verify_sizes
from factd.editor.files.manifests import MANIFEST, is_of_before, read_manifest, read_sealed


@dataclass(frozen=True, kw_only=True)
class VerifiedVersion:
    """A version that is what its manifest says, to the bit."""

    folder: Path
    release: int
    files: int
    signed_by: str | None  # the id of the key; None: it is unsigned

    def as_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {**vars(self), "folder": str(self.folder), "ok": True}

    def said(self) -> str:
        """In words."""
        signed = f"signed with the key {self.signed_by}" if self.signed_by else "unsigned"
        return f"{self.folder}: {self.files} files are what the manifest says, {signed}"


def folder_of(published: Path, number: int) -> Path:
    """Where a version lies in a published folder; the folder itself, where it is one version that was copied alone."""
    inside = published / "versions" / str(number)
    return published if not inside.exists() and (published / MANIFEST).exists() else inside


def verify(folder: Path, number: int, key: PublicKey | None) -> VerifiedVersion:
    """Read every byte of a version. key: what it must be signed with; None: whatever signed it, if anything did.

    Raises: DamagedArtefact: names the first file that differs, is missing, is not listed or does not fit.
    """
    if is_of_before(read_manifest(folder)):
        raise DamagedArtefact(
            folder / MANIFEST,
            f"an earlier factd wrote it, without a seal; `factd releases write {number}` writes the version again",
        )
    manifest = read_sealed(folder)  # before the signature: what is damaged is named
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
    """A version may become `current`. whole: every byte is read, and who signed it looked at; else sizes alone are compared.

    Sizes are for a release that goes out again, as in a rollback, which must not take the minutes that reading a large
    model takes. What is damaged does not count as a version any more: it is written again by the next attempt.

    Raises: PublishFailed: names the file. BadConfig: a key cannot be read.
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
    """Why a version's files are not what its manifest says; empty where they are, also where an earlier factd wrote them."""
    try:
        if is_of_before(read_manifest(folder)):
            verify_folder(folder)
        else:
            verify(folder, number, None)
    except DamagedArtefact as error:
        return str(error)
    return ""
