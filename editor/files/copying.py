"""Copies that cost as little as the file system allows: hard links, shared blocks, or bytes."""

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FICLONE = 0x40049409  # of linux/fs.h: the new file shares the old one's blocks until one of them is changed
CopyFile = Callable[[Path, Path], None]  # makes the second path hold what the first one does


@dataclass
class HardLinks:
    """Brings files as hard links, each a further name of the same file; copies where the system refuses that.

    It does across file systems, where links are unknown, of files that are neither ours nor ours to write
    (fs.protected_hardlinks), and of too many links.
    """

    refused: dict[Path, str] = field(default_factory=dict)  # what was copied, and why

    def __call__(self, source: Path, out: Path) -> None:
        """`source` as `out`; a symbolic link is followed to the file itself."""
        try:
            os.link(source.resolve(), out)
        except OSError as error:
            self.refused[source] = error.strerror or str(error)
            copy_file(source, out)


def copy_file(source: Path, out: Path) -> None:
    """A file of its own with the bytes of `source`; their blocks are shared where the file system can (XFS, Btrfs, …)."""
    with source.open("rb") as old, out.open("wb") as new:
        if _cloned(old.fileno(), new.fileno()) or _in_kernel(old.fileno(), new.fileno()):
            return
    shutil.copyfile(source, out)


def _cloned(old: int, new: int) -> bool:
    try:
        fcntl.ioctl(new, FICLONE, old)
    except OSError:
        return False
    return True


def _in_kernel(old: int, new: int) -> bool:
    """Without the bytes passing through this process; a file server copies on its own side."""
    left = os.fstat(old).st_size
    try:
        while left > 0:
            done = os.copy_file_range(old, new, left)
            if not done:
                return False
            left -= done
    except OSError:
        return False
    return True
