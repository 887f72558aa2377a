"""The manifest of a folder as bytes: canonical JSON, with an optional seal that shows damage.

The seal is the SHA-256 of everything else in the manifest.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from factd.editor.errors import DamagedArtefact

MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig.json"  # over the manifest's bytes; who signs is not known here
REPORT = "report.json"  # the measurements of the folder's content
PROOF = "proof.json"  # the answers that a server of this content must give
# these files describe one folder; they are not copied into a folder that is made from it
METADATA_FILES = (MANIFEST, SIGNATURE, REPORT, PROOF)
SEAL = "seal"


def canonical_json(value: Mapping[str, Any]) -> bytes:
    """A JSON object in its canonical form: sorted keys, indentation of one space, final newline."""
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()


def sealed_json(manifest: Mapping[str, Any]) -> bytes:
    """A manifest as canonical JSON, with the seal: the SHA-256 of everything else in it."""
    return canonical_json({**manifest, SEAL: _seal(manifest)})


def _seal(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != SEAL}
    return hashlib.sha256(canonical_json(rest)).hexdigest()


def parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """The JSON object that a file holds. Raises: DamagedArtefact: the file holds no JSON object."""
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedArtefact(
            path, f"it is not a readable manifest ({error}); restore it"
        ) from error
    if not isinstance(value, dict):
        raise DamagedArtefact(path, "factd did not write this manifest; restore it")
    return value


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, with or without a seal. A seal is not checked.

    Raises: DamagedArtefact: there is no manifest, or factd did not write it.
    """
    path = folder / MANIFEST
    manifest = parse_object(path, read_bytes(path))
    if not isinstance(manifest.get("files"), dict):
        raise DamagedArtefact(path, "factd did not write this manifest; restore it")
    return manifest


def read_sealed(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, after its seal was checked: every bit is as it was written.

    Raises: DamagedArtefact: the manifest was changed, or has no seal.
    """
    path = folder / MANIFEST
    manifest = read_manifest(folder)
    if SEAL not in manifest:
        raise DamagedArtefact(path, "it has no seal; write the folder again")
    if path.read_bytes() != sealed_json(manifest):
        raise DamagedArtefact(path, "it was changed after it was written; write the folder again")
    return manifest


def read_bytes(path: Path) -> bytes:
    """The bytes of a small file. Raises: DamagedArtefact: the file cannot be read."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise DamagedArtefact(path, "it is not a regular file; remove it, and restore the file")
    try:
        return path.read_bytes()
    except OSError as error:
        raise DamagedArtefact(
            path, f"it cannot be read ({error.strerror}); restore it or its permissions"
        ) from error


def predates_seals(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest was written by a version of factd that made no seals.

    A manifest that lists sizes was sealed once: without a seal it is damaged.
    """
    return SEAL not in manifest and "sizes" not in manifest
