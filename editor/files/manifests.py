"""The manifest of a folder as bytes: canonical JSON, where it is to show its own damage with a seal over the rest."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factd.editor.errors import DamagedArtefact

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig.json"  # over the manifest's bytes, beside it; who signs is not known here
REPORT = "report.json"  # what was measured of what the folder holds
PROOF = "proof.json"  # what a server that serves it must say
METADATA_FILES = (
    MANIFEST,
    SIGNATURE,
    REPORT,
    PROOF,
)  # what a folder says of itself, and no other folder made of it
SEAL = "seal"


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """The one way in which a JSON object is written here: keys sorted, one space of indentation, a line's end behind it."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def sealed_json(manifest: Mapping[str, Any]) -> bytes:
    """A manifest with the SHA-256 of all else that it says, canonical."""
    return canonical_json({**manifest, SEAL: _seal(manifest)})


def _seal(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != SEAL}
    return hashlib.sha256(canonical_json(rest)).hexdigest()


def parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object that a file holds. Raises: DamagedArtefact: it holds none."""
    try:
        found = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedArtefact(path, f"no readable manifest ({error})") from error
    if not isinstance(found, dict):
        raise DamagedArtefact(path, "no manifest of this program")
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """A folder's manifest, whether it is sealed or not; no seal is looked at.

    Raises: DamagedArtefact: there is none, or it is none of ours.
    """
    path = folder / MANIFEST
    manifest = parse_object(path, read_bytes(path))
    if not isinstance(manifest.get("files"), dict):
        raise DamagedArtefact(path, "no manifest of this program")
    return manifest


def read_sealed(folder: Path) -> dict[str, Any]:
    """A folder's manifest, every bit of which is as it was written. Raises: DamagedArtefact: it is not, or has no seal."""
    path = folder / MANIFEST
    manifest = read_manifest(folder)
    if SEAL not in manifest:
        raise DamagedArtefact(path, "it has no seal; write the folder again")
    if path.read_bytes() != sealed_json(manifest):
        raise DamagedArtefact(path, "it was changed after it was written; write the folder again")
    return manifest


def read_bytes(path: Path) -> bytes:
    """A small file's bytes. Raises: DamagedArtefact: it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DamagedArtefact(path, "is no file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedArtefact(path, f"cannot be read ({error.strerror})") from error


def predates_seals(manifest: Mapping[str, Any]) -> bool:
    """It was written by a program that knew no seals; one whose seal alone is gone is damaged instead."""
    return SEAL not in manifest and "sizes" not in manifest
