"""SHA-256 of files that are read once: a base of 140 GB is not read again for every version that is written from it.

A file counts as the one that was read while the file system says the same device, inode, size and time of modification
(mtime_ns). Not its time of change (ctime): a hard link to it changes that, and so does deleting one, which is what writing
and pruning versions does. So what is not seen is a change that keeps size *and* sets mtime back on the same inode, or that
went around the file system (a bit that tipped on the disk). Therefore these sums serve only to *write* a version, and there
only for files that are linked: their sums go into the manifest, and whoever verifies the version reads its bytes
(`verify_sealed_folder`), before it is published too, and finds the difference. What is copied is read (editor/deltas/checkpoint.py).

A file that was modified less than SETTLED_NS before it was read is not remembered: within the clock's tick of a file
system (4 ms on ext4, 2 s on FAT) it may be changed again with the same mtime. Nor is one that changes while it is read.
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
    """What the file system says of a file. Raises: DamagedArtefact: it cannot be read."""
    try:
        found = path.stat()
    except OSError as error:
        raise DamagedArtefact(path, f"cannot be read ({error.strerror})") from error
    return f"{found.st_dev} {found.st_ino} {found.st_size} {found.st_mtime_ns}"


@dataclass
class ChecksumCache:
    """SHA-256 of files by what the file system says of them; what was asked for is kept in a small file, if one is named."""

    path: Path | None = None  # no other file says it; one that is lost or damaged only costs time
    clock: Callable[[], int] = time.time_ns
    known: dict[FileKey, str] = field(default_factory=dict)
    used: dict[FileKey, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path is not None:
            self.known |= _read(self.path)

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file, hexadecimal. Raises: DamagedArtefact: it cannot be read."""
        key = file_key(path)
        found = self.known.get(key)
        if found is None:
            started = self.clock()
            found = sha256_file(path)
            if file_key(path) != key or path.stat().st_mtime_ns > started - MIN_AGE_NS:
                return found
        self.known[key] = self.used[key] = found
        return found

    def save(self) -> None:
        """Write down what was asked for, and only that: sums of files that are gone go too."""
        if self.path is not None and self.used:
            write_file(self.path, sealed_json({"sums": self.used}))


def _read(path: Path) -> dict[FileKey, str]:
    """What was kept; nothing where a bit of it is not what was written."""
    try:
        content = path.read_bytes()
        found = parse_object(path, content)
    except (OSError, DamagedArtefact):
        return {}
    sums = found.get("sums")
    return dict(sums) if isinstance(sums, dict) and sealed_json(found) == content else {}
