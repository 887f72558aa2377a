"""Files that are whole or not there: written under a temporary name, fsynced, renamed, listed with their SHA-256."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from factd.editor.errors import DamagedArtefact
from factd.editor.files.manifests import (
    MANIFEST,
    SIGNATURE,
    canonical_json,
    read_manifest,
    read_sealed,
    sealed_json,
)

Sha256 = Callable[[Path], str]  # of a file, hexadecimal


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal. Raises: DamagedArtefact: it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise DamagedArtefact(path, "is no file")
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
    return _written(
        out, fill, lambda told, sums, _: canonical_json({**about, **told, "files": sums})
    )


def write_sealed_folder(
    out: Path,
    fill: Callable[[Path], Mapping[str, Any] | None],
    about: Mapping[str, Any],
    *,
    sha256: Sha256 = sha256_file,
    sign: Callable[[bytes], bytes] | None = None,
) -> Path:
    """The same with a manifest that has a seal and the files' sizes, and beside it what `sign` makes of its bytes.

    sha256 may know files that `fill` linked (editor/files/checksum_cache.py). A linked file is its owner's: its mode stays, and it was
    durable before.
    """

    def manifest(
        told: Mapping[str, Any], sums: Mapping[str, str], sizes: Mapping[str, int]
    ) -> bytes:
        return sealed_json({**about, **told, "files": sums, "sizes": sizes})

    return _written(out, fill, manifest, sha256=sha256, sign=sign)


def _written(
    out: Path,
    fill: Callable[[Path], Mapping[str, Any] | None],
    manifest: Callable[[Mapping[str, Any], Mapping[str, str], Mapping[str, int]], bytes],
    *,
    sha256: Sha256 = sha256_file,
    sign: Callable[[bytes], bytes] | None = None,
) -> Path:
    part = out.with_name(out.name + ".tmp")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        told = fill(part) or {}
    except Exception:
        shutil.rmtree(part, ignore_errors=True)  # it may be as large as a model
        raise
    files = {str(path.relative_to(part)): path for path in sorted(_plain_files(part))}
    sums = {name: sha256(path) for name, path in files.items()}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    content = manifest(told, sums, sizes)
    (part / MANIFEST).write_bytes(content)
    if sign is not None:
        (part / SIGNATURE).write_bytes(sign(content))
    _make_durable(part)
    _put_in_place(part, out)
    return out


def _plain_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _make_durable(folder: Path) -> None:
    """Every file and folder below it, and itself; readable by all, but for files that are linked from elsewhere."""
    for path in _plain_files(folder):
        if path.stat().st_nlink == 1:
            path.chmod(0o644)
            fsync(path)
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        fsync(path)


def _put_in_place(part: Path, out: Path) -> None:
    """Rename, after what stood there was renamed: deleting a large model takes seconds, in which nothing would be there."""
    old = out.with_name(out.name + ".old.tmp")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    part.rename(out)
    fsync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def verify_folder(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files are all what it says. Raises: DamagedArtefact: names the file."""
    manifest = read_manifest(folder)
    _compare(folder, manifest)
    return manifest


def verify_sealed_folder(folder: Path) -> dict[str, Any]:
    """The same of a folder with a sealed manifest, which holds nothing else.

    Raises: DamagedArtefact: names the file that differs, is missing, or is not listed.
    """
    manifest = read_sealed(folder)
    refuse_unlisted(folder, manifest)
    _compare(folder, manifest)
    return manifest


def _compare(folder: Path, manifest: Mapping[str, Any]) -> None:
    for name, expected in manifest["files"].items():
        if sha256_file(folder / name) != expected:
            raise DamagedArtefact(
                folder / name, "its SHA-256 differs from the manifest; restore it or make it again"
            )


def refuse_unlisted(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises: DamagedArtefact: a file lies there that the manifest does not list (a pickle would be loaded, and run)."""
    listed = {MANIFEST, SIGNATURE, *manifest["files"]}
    for root, folders, names in os.walk(folder, onerror=_raise_unreadable):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in sorted((*names, *links)):
            path = Path(root) / name
            if str(path.relative_to(folder)) not in listed:
                raise DamagedArtefact(
                    path, "the manifest does not list it; look where it comes from, and remove it"
                )


def _raise_unreadable(error: OSError) -> None:
    """What cannot be looked into may hold anything."""
    raise DamagedArtefact(Path(error.filename), f"cannot be read ({error.strerror})") from error


def verify_sizes(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files have the sizes that it says: finds what was cut off, reads no weights.

    An unsealed manifest of before says no sizes; then files must be there. Raises: DamagedArtefact: names the file.
    """
    manifest = read_manifest(folder)
    sizes = manifest.get("sizes", {})
    for name in manifest["files"]:
        try:
            found = (folder / name).stat().st_size
        except OSError as error:
            raise DamagedArtefact(folder / name, f"cannot be read ({error.strerror})") from error
        if found != sizes.get(name, found):
            raise DamagedArtefact(
                folder / name, f"it has {found} bytes, the manifest says {sizes[name]}"
            )
    return manifest
