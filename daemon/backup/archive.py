"""A folder or tar file with a manifest: every file with its SHA-256, whole or not there, checked before a byte of it is used."""

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
    """Files by their names within, with a manifest. `target` is a tar file if it ends with .tar, else a folder.

    Raises: Refused: there is something already, or a file went away meanwhile.
    """
    if target.exists():
        raise Refused(f"{target} is there already; name another file or folder")
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
        raise Refused(f"{target} was not written ({error}); make room, or try again") from error
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
                    reader = _Summed(file)
                    member = _member(name, os.fstat(file.fileno()).st_size)
                    tar.addfile(member, cast(IO[bytes], reader))
                sums[name] = reader.digest.hexdigest()
            content = _manifest(about, sums)
            tar.addfile(_member(MANIFEST, len(content)), io.BytesIO(content))
        raw.flush()
        os.fsync(raw.fileno())


def _private(path: Path) -> IO[bytes]:
    """A new file that only its owner reads: a database is in it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _member(name: str, size: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.size, found.mode = size, 0o600
    return found


class _Summed:
    """A file that is read once, and its SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """As a file's."""
        found = self.file.read(size)
        self.digest.update(found)
        return found


def _manifest(about: Mapping[str, Any], sums: Mapping[str, str]) -> bytes:
    return json.dumps({**about, "files": sums}, indent=1, sort_keys=True).encode() + b"\n"


def verify(path: Path) -> dict[str, Any]:
    """The manifest of an archive whose files are all what it says, no fewer and no more.

    Raises: BadBackup: names the file.
    """
    return _checked(path, None)


def extract(path: Path, folder: Path) -> dict[str, Any]:
    """The files into a folder, which must be empty; checked as they are written. Raises: BadBackup, as `verify`."""
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
        found = json.loads(manifest)
        expected: dict[str, str] = found["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadBackup(f"{path} is no backup of factd: it has no readable {MANIFEST}") from error
    for name in sorted({*expected, *sums}):
        if expected.get(name) != sums.get(name):
            why = "is missing" if name not in sums else "differs from its SHA-256"
            why = "is not in the manifest" if name not in expected else why
            raise BadBackup(f"{path}: {name} {why}; use another backup")
    return dict(found)


def _files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if path.is_dir():
        for found in sorted(p for p in path.rglob("*") if p.is_symlink() or not p.is_dir()):
            name = found.relative_to(path).as_posix()
            if found.is_symlink() or not found.is_file():
                raise BadBackup(f"{path}: {name} is no plain file; use another backup")
            with found.open("rb") as file:
                yield name, file
        return
    with tarfile.open(path, mode="r:") as tar:
        for member in tar:
            yield _safe_name(path, member), _content(tar, member)


def _safe_name(path: Path, member: tarfile.TarInfo) -> str:
    """Raises: BadBackup: it would leave the folder, or is no plain file."""
    parts = PurePosixPath(member.name)
    if not member.isreg() or parts.is_absolute() or ".." in parts.parts:
        raise BadBackup(f"{path}: {member.name} is no plain file within it; use another backup")
    return parts.as_posix()


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = tar.extractfile(member)
    if found is None:
        raise BadBackup(f"{member.name} cannot be read; use another backup")
    return found


def _copied(file: IO[bytes], target: Path | None) -> str:
    """SHA-256 of a file's content, which is written to a target where there is one."""
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
