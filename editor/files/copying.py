"""Copies files as cheaply as the file system allows: hard links, shared blocks, or bytes."""

import fcntl
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

FICLONE = 0x40049409  # of linux/fs.h: both files share their blocks until one of them is changed
CopyFile = Callable[[Path, Path], None]  # source, out: makes `out` hold the content of `source`


@dataclass
class HardLinks:
    """Makes hard links to files, and copies a file if the system refuses a link to it.

    The system refuses a link to another file system, on a file system without hard links, to a file
    that we neither own nor may write (fs.protected_hardlinks), and above the largest number of
    links.
    """

    refused: dict[Path, str] = field(default_factory=dict)  # file that was copied -> why

    def __call__(self, source: Path, out: Path) -> None:
        """Link `out` to `source`. A symbolic link is followed to the file itself."""
        try:
            os.link(source.resolve(), out)
        except OSError as error:
            self.refused[source] = error.strerror or str(error)
            copy_file(source, out)


def copy_file(source: Path, out: Path) -> None:
    """Copy a file. The blocks are shared if the file system can share them (XFS, Btrfs, …)."""
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
    """Copy within the kernel, or on the file server: no byte passes through this process."""
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
