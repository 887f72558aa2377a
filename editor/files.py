"""Files that are whole or not there: written under a temporary name, fsynced, renamed, listed with their SHA-256."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from editor.errors import DamagedArtefact

MANIFEST = "manifest.json"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal. Raises: DamagedArtefact: it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DamagedArtefact(path, f"cannot be read ({error.strerror})") from error


def fsync(path: Path) -> None:
    """Make a file or a folder's entries durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, content: bytes) -> None:
    """A file that appears whole: written under a temporary name, fsynced, renamed. Its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".tmp")
    part.write_bytes(content)
    part.chmod(0o644)
    fsync(part)
    part.rename(path)
    fsync(path.parent)


def write_folder(
    out: Path, fill: Callable[[Path], Mapping[str, Any] | None], about: Mapping[str, Any]
) -> Path:
    """A folder that appears whole: `fill` writes into a temporary one, which gets a manifest and is renamed to `out`.

    `about`, and what `fill` returns, go into the manifest beside the files' SHA-256. What stood at `out` is replaced.
    """
    part = out.with_name(out.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    told = {**about, **(fill(part) or {})}
    files = sorted(path for path in part.rglob("*") if path.is_file())
    sums = {str(path.relative_to(part)): sha256_file(path) for path in files}
    manifest = part / MANIFEST
    manifest.write_text(
        json.dumps({**told, "files": sums}, indent=1, sort_keys=True) + "\n", encoding="utf-8"
    )
    for path in (*files, manifest):
        path.chmod(0o644)
        fsync(path)
    fsync(part)
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)
    fsync(out.parent)
    return out


def read_manifest(folder: Path) -> dict[str, Any]:
    """A folder's manifest. Raises: DamagedArtefact: there is none, or it is no JSON object."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DamagedArtefact(path, f"no readable manifest ({error})") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise DamagedArtefact(path, "no manifest of this program")
    return manifest


def verify_folder(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files are all what it says. Raises: DamagedArtefact: names the file."""
    manifest = read_manifest(folder)
    for name, expected in manifest["files"].items():
        if sha256_file(folder / name) != expected:
            raise DamagedArtefact(
                folder / name, "its SHA-256 differs from the manifest; restore it or make it again"
            )
    return manifest
