"""Files and folders that appear whole: written under a temporary name, fsynced, then renamed.

A folder gets a manifest that lists its files with their SHA-256.
"""

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

Sha256 = Callable[[Path], str]  # gives the checksum of a file, hexadecimal


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal. Raises: DamagedArtefact: the file cannot be read."""
    if path.exists() and not path.is_file():  # reading a pipe would wait for ever
        raise DamagedArtefact(path, "it is not a regular file; remove it, and restore the file")
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DamagedArtefact(
            path, f"it cannot be read ({error.strerror}); restore it or its permissions"
        ) from error


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that appears whole and durable. Its folder is created if needed."""
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
    """Write a folder that appears whole. Returns `out`.

    `fill` writes into a temporary folder, which then gets a manifest and is renamed to `out`. The
    manifest holds `about`, what `fill` returns, and the SHA-256 of every file. A folder that is
    already at `out` is replaced.
    """
    return _written(
        out, fill, lambda entries, sums, _: canonical_json({**about, **entries, "files": sums})
    )


def write_sealed_folder(
    out: Path,
    fill: Callable[[Path], Mapping[str, Any] | None],
    about: Mapping[str, Any],
    *,
    sha256: Sha256 = sha256_file,
    sign: Callable[[bytes], bytes] | None = None,
) -> Path:
    """Like `write_folder`, with a sealed manifest that also lists the files' sizes.

    sign: makes a signature from the manifest's bytes; it is stored beside the manifest. sha256 may
    be a cache that knows the files that `fill` linked (editor/files/checksum_cache.py). A linked
    file belongs to its owner: its mode is not changed, and it is durable already.
    """

    def manifest(
        entries: Mapping[str, Any], sums: Mapping[str, str], sizes: Mapping[str, int]
    ) -> bytes:
        return sealed_json({**about, **entries, "files": sums, "sizes": sizes})

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
        entries = fill(part) or {}
    except Exception:
        shutil.rmtree(part, ignore_errors=True)  # it may be as large as a model
        raise
    files = {str(path.relative_to(part)): path for path in sorted(_plain_files(part))}
    sums = {name: sha256(path) for name, path in files.items()}
    sizes = {name: path.stat().st_size for name, path in files.items()}
    content = manifest(entries, sums, sizes)
    (part / MANIFEST).write_bytes(content)
    if sign is not None:
        (part / SIGNATURE).write_bytes(sign(content))
    _make_durable(part)
    _put_in_place(part, out)
    return out


def _plain_files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _make_durable(folder: Path) -> None:
    """Fsync a folder and all below it, and make its files readable by all.

    Files with several hard links are skipped: they belong to another folder.
    """
    for path in _plain_files(folder):
        if path.stat().st_nlink == 1:
            path.chmod(0o644)
            fsync(path)
    for path in (*(path for path in folder.rglob("*") if path.is_dir()), folder):
        fsync(path)


def _put_in_place(part: Path, out: Path) -> None:
    """Rename `part` to `out`. An older folder is first renamed, and deleted last.

    Deleting a large model takes seconds; until then nothing would be at `out`.
    """
    old = out.with_name(out.name + ".old.tmp")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    part.rename(out)
    fsync(out.parent)
    shutil.rmtree(old, ignore_errors=True)


def verify_folder(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, after all listed files were compared with it.

    Raises: DamagedArtefact: names the file that is missing or differs.
    """
    manifest = read_manifest(folder)
    _compare(folder, manifest)
    return manifest


def verify_sealed_folder(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, after its seal, all files and the absence of others were checked.

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
    """Check that a folder holds no file that its manifest does not list.

    A pickle that someone put there would be loaded, and its code would run.

    Raises: DamagedArtefact: names such a file.
    """
    listed = {MANIFEST, SIGNATURE, *manifest["files"]}
    for root, folders, names in os.walk(folder, onerror=_raise_unreadable):
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        for name in sorted((*names, *links)):
            path = Path(root) / name
            if str(path.relative_to(folder)) not in listed:
                raise DamagedArtefact(
                    path, "the manifest does not list it; find out who put it there, and remove it"
                )


def _raise_unreadable(error: OSError) -> None:
    """Refuse a folder that cannot be listed: it may hold anything."""
    raise DamagedArtefact(
        Path(error.filename), f"it cannot be read ({error.strerror}); restore its permissions"
    ) from error


def verify_sizes(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, after the sizes of its files were compared with it.

    This finds truncated files without reading the weights. A manifest without a seal, from older
    versions of factd, lists no sizes; then the files must only exist.

    Raises: DamagedArtefact: names the file that is missing or differs.
    """
    manifest = read_manifest(folder)
    sizes = manifest.get("sizes", {})
    for name in manifest["files"]:
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            raise DamagedArtefact(
                folder / name,
                f"it cannot be read ({error.strerror}); restore it or its permissions",
            ) from error
        if size != sizes.get(name, size):
            raise DamagedArtefact(
                folder / name,
                f"it has {size} bytes, the manifest says {sizes[name]}; "
                "restore it or make it again",
            )
    return manifest
