"""A cache of SHA-256 checksums, so that a base of 140 GB is not read again for every version.

A file is taken for the one that was read as long as its device, inode, size and modification time
(mtime_ns) stay the same. The change time (ctime) is not compared: writing and pruning versions
makes and deletes hard links, and each changes the ctime of the file.

The cache therefore misses two kinds of change: one that keeps the size and sets the mtime back on
the same inode, and one that bypasses the file system (a flipped bit on the disk). So cached
checksums are used only to *write* a version, and only for linked files: they go into the manifest.
Whoever verifies the version reads the bytes (`verify_sealed_folder`), also before publishing, and
finds the difference. Copied files are read again (editor/deltas/checkpoint.py).

A file that was modified less than MIN_AGE_NS before it was read is not cached: within one tick of
the file system's clock (4 ms on ext4, 2 s on FAT) it can change again with the same mtime. A file
that changes while it is read is not cached either.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import sha256_file, write_file
from factd.editor.files.manifests import parse_object, sealed_json

MIN_AGE_NS = 2_000_000_000

FileKey = str  # "device inode size mtime_ns"


def file_key(path: Path) -> FileKey:
    """A file's device, inode, size and modification time.

    Raises: DamagedArtefact: the file system does not give them.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DamagedArtefact(
            path, f"it cannot be read ({error.strerror}); restore it or its permissions"
        ) from error
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


@dataclass
class ChecksumCache:
    """SHA-256 checksums by device, inode, size and modification time."""

    path: Path | None = None  # where they are stored; a lost or damaged file only costs time
    clock: Callable[[], int] = time.time_ns
    known: dict[FileKey, str] = field(default_factory=dict)
    used: dict[FileKey, str] = field(default_factory=dict)  # what `sha256` returned and cached

    def __post_init__(self) -> None:
        if self.path is not None:
            self.known |= _read(self.path)

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file, hexadecimal. Raises: DamagedArtefact: the file cannot be read."""
        key = file_key(path)
        digest = self.known.get(key)
        if digest is None:
            started = self.clock()
            digest = sha256_file(path)
            if file_key(path) != key or path.stat().st_mtime_ns > started - MIN_AGE_NS:
                return digest
        self.known[key] = self.used[key] = digest
        return digest

    def save(self) -> None:
        """Store the checksums that were used.

        Those of other files, which may be gone, are dropped.
        """
        if self.path is not None and self.used:
            write_file(self.path, sealed_json({"sums": self.used}))


def _read(path: Path) -> dict[FileKey, str]:
    """The stored checksums; none if the file is missing or its seal does not fit."""
    try:
        content = path.read_bytes()
        stored = parse_object(path, content)
    except (OSError, DamagedArtefact):
        return {}
    sums = stored.get("sums")
    return dict(sums) if isinstance(sums, dict) and sealed_json(stored) == content else {}
