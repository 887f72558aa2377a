"""A folder or tar file with a manifest that holds the SHA-256 of every file.

It is written completely or not at all, and checked before a byte of it is used.
"""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from factd.daemon.errors import BadBackup, Refused
from factd.editor.files.folders import fsync, sha256_file
from factd.editor.files.manifests import MANIFEST

PART = 1024 * 1024


def write_archive(target: Path, files: Mapping[str, Path], about: Mapping[str, Any]) -> None:
    """Write files with a manifest. `target` is a tar file if it ends with .tar, else a folder.

    files: their names inside the archive -> paths.
    Raises: Refused: `target` exists, or a file could not be read or written.
    """
    if target.exists():
        raise Refused(f"{target} exists; name another file or folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".tmp")
    _remove(part)
    try:
        if target.suffix == ".tar":
            _write_tar(part, files, about)
        else:
            _write_folder(part, files, about)
        part.rename(target)
    except OSError as error:
        raise Refused(
            f"{target} was not written ({error}); free disk space, or try again"
        ) from error
    finally:
        _remove(part)
    fsync(target.parent)


def _write_folder(part: Path, files: Mapping[str, Path], about: Mapping[str, Any]) -> None:
    part.mkdir()
    sums = {}
    for name, source in sorted(files.items()):
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, path)
        path.chmod(0o600)
        sums[name] = sha256_file(path)
        fsync(path)
    (part / MANIFEST).write_bytes(_manifest(about, sums))
    fsync(part / MANIFEST)
    fsync(part)


def _write_tar(part: Path, files: Mapping[str, Path], about: Mapping[str, Any]) -> None:
    sums = {}
    with _private(part) as raw:
        with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, source in sorted(files.items()):
                with source.open("rb") as file:
                    reader = _HashingReader(file)
                    member = _member(name, os.fstat(file.fileno()).st_size)
                    tar.addfile(member, cast(IO[bytes], reader))
                sums[name] = reader.digest.hexdigest()
            content = _manifest(about, sums)
            tar.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))
        raw.flush()
        os.fsync(raw.fileno())


def _private(path: Path) -> IO[bytes]:
    """A new file that only its owner may read, because it holds a database."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


class _HashingReader:
    """Reads a file once and computes its SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes, as a file's `read`."""
        content = self.file.read(size)
        self.digest.update(content)
        return content


def _manifest(about: Mapping[str, Any], sums: Mapping[str, str]) -> bytes:
    return json.dumps({**about, "files": sums}, indent=1, sort_keys=True).encode() + b"\n"


def verify(path: Path) -> dict[str, Any]:
    """Check every file of an archive against its manifest, and return the manifest.

    Raises: BadBackup: a file differs, is missing or is not listed; it names the file.
    """
    return _checked(path, None)


def extract(path: Path, folder: Path) -> dict[str, Any]:
    """Write the files into an empty folder, checked on the way. Raises: BadBackup, as `verify`."""
    return _checked(path, folder)


def _checked(path: Path, folder: Path | None) -> dict[str, Any]:
    sums, manifest = {}, b""
    try:
        for name, file in _files(path):
            if name in sums:
                raise BadBackup(f"{path}: {name} is in it twice; use another backup")
            if name == MANIFEST:
                manifest = file.read()
                continue
            sums[name] = _copied(file, folder / name if folder else None)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadBackup(f"{path} cannot be read ({error}); use another backup") from error
    return _compared(path, manifest, sums)


def _compared(path: Path, manifest: bytes, sums: Mapping[str, str]) -> dict[str, Any]:
    try:
        data = json.loads(manifest)
        expected: dict[str, str] = data["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadBackup(
            f"{path} is not a backup of factd: it has no readable {MANIFEST}; use another file"
        ) from error
    for name in sorted({*expected, *sums}):
        if expected.get(name) != sums.get(name):
            why = "is missing" if name not in sums else "differs from its SHA-256"
            why = "is not in the manifest" if name not in expected else why
            raise BadBackup(f"{path}: {name} {why}; use another backup")
    return dict(data)


def _files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if path.is_dir():
        for entry in sorted(p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()):
            name = entry.relative_to(path).as_posix()
            if entry.is_symlink() or not entry.is_file():
                raise BadBackup(f"{path}: {name} is not a plain file; use another backup")
            with entry.open("rb") as file:
                yield name, file
        return
    with tarfile.open(path, mode="r:") as tar:
        for member in tar:
            yield _safe_name(path, member), _content(tar, member)


def _safe_name(path: Path, member: tarfile.TarInfo) -> str:
    """The name of a member.

    Raises: BadBackup: it leads out of the folder, or is not a plain file.
    """
    parts = PurePosixPath(member.name)
    if not member.isreg() or parts.is_absolute() or ".." in parts.parts:
        raise BadBackup(f"{path}: {member.name} is not a plain file inside it; use another backup")
    return parts.as_posix()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member)
    if content is None:
        raise BadBackup(f"{member.name} cannot be read; use another backup")
    return content


def _copied(file: IO[bytes], target: Path | None) -> str:
    """The SHA-256 of a file's content. target: where the content is written, or None."""
    digest = hashlib.sha256()
    with _opened(target) as out:
        while part := file.read(PART):
            digest.update(part)
            if out:
                out.write(part)
    return digest.hexdigest()


@contextmanager
def _opened(target: Path | None) -> Iterator[IO[bytes] | None]:
    if target is None:
        yield None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with _private(target) as out:
        yield out
        out.flush()
        os.fsync(out.fileno())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
