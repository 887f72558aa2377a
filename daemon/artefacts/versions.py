"""The published folder: `versions/N/` holds what publishers wrote of release N, `current` is a link that is swapped atomically.

Nothing here loads a model to roll back: switching is one rename of a link.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.config.tables import PublishTable
from factd.daemon.errors import PublishFailed
from factd.editor.files.folders import Sha256, fsync, sha256_file, write_sealed_folder
from factd.editor.files.manifests import MANIFEST

if TYPE_CHECKING:
    from factd.daemon.plugins import ConfiguredPublisher

LOCK_SECONDS = 30  # another process holds the lock for the time of one rename


@dataclass(frozen=True)
class Versions:
    """Versions under one root."""

    root: Path
    keep: int  # versions on disk besides the base's and the current one
    table: PublishTable = field(
        default_factory=PublishTable
    )  # keys, and where servers find versions
    load: Callable[[], Mapping[str, "ConfiguredPublisher"]] = (
        dict  # the publishers, when they are first needed
    )

    @cached_property
    def publishers(self) -> Mapping[str, "ConfiguredPublisher"]:
        """The publishers that write a version, by name, the checkpoint first. Raises: BadConfig."""
        return self.load()

    def folder(self, number: int) -> Path:
        """Where a version lies."""
        return self.root / "versions" / str(number)

    def has(self, number: int) -> bool:
        """The version lies ready (a folder without its manifest is not whole)."""
        return (self.folder(number) / MANIFEST).is_file()

    def write(
        self,
        number: int,
        fill: Callable[[Path], Mapping[str, Any] | None],
        about: Mapping[str, Any],
        *,
        sha256: Sha256 = sha256_file,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> Path:
        """A version as `fill` writes it into a folder, whole or not at all; an older one of the same number is replaced.

        sha256 and sign: as factd.editor.files.folders.write_sealed_folder takes them.
        """
        folder, told = self.folder(number), {**about, "release": number}
        folder.parent.mkdir(parents=True, exist_ok=True)
        return write_sealed_folder(folder, fill, told, sha256=sha256, sign=sign)

    def discard(self, number: int) -> None:
        """The version is damaged: it counts as not there, and what it said of itself is kept to be looked at."""
        manifest = self.folder(number) / MANIFEST
        if manifest.exists():
            manifest.replace(manifest.with_name("manifest.damaged.json"))
            fsync(manifest.parent)

    def switch(self, number: int, *, epoch: int | None = None, held: Collection[int] = ()) -> None:
        """`current` points to the version; servers see the old one or the new one, never nothing.

        epoch: of the writer's lease. held: versions that somebody needs, which are not deleted however old they are.
        Raises: PublishFailed: it is not there, or one with a later epoch has been here.
        """
        if not self.has(number):
            raise PublishFailed(
                f"version {number} is not on disk any more; write it again with `factd releases publish {number}`"
            )
        with self._turn(epoch):
            link, part = self.root / "current", self.root / "current.tmp"
            part.unlink(missing_ok=True)
            part.symlink_to(Path("versions") / str(number))
            part.replace(link)
            handle = os.open(self.root, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            self._prune(held)

    def fence(self, epoch: int) -> None:
        """Who switched with an earlier epoch cannot any more: the folder itself remembers the latest."""
        with self._turn(epoch):
            pass

    @contextmanager
    def _turn(self, epoch: int | None) -> Iterator[None]:
        """One process at a time, and none with an older epoch than one that was here. Raises: PublishFailed."""
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".epoch").open("a+") as file:
            _lock(file.fileno())
            file.seek(0)
            last = int(file.read() or 0)
            if epoch is not None and epoch < last:
                raise PublishFailed(
                    f"another process has taken over publishing to {self.root} (epoch {last}, ours is {epoch})"
                )
            if epoch is not None and epoch > last:
                file.truncate(0)
                file.write(str(epoch))
                file.flush()
                os.fsync(file.fileno())
            yield

    def current(self) -> int | None:
        """The number that `current` points to."""
        link = self.root / "current"
        return int(link.readlink().name) if link.is_symlink() else None

    def numbers(self) -> list[int]:
        """The versions on disk, ascending."""
        found = (self.root / "versions").iterdir() if (self.root / "versions").is_dir() else ()
        return sorted(int(path.name) for path in found if path.name.isdigit())

    def previous(self, number: int) -> int | None:
        """The newest version before one that lies ready."""
        found = [n for n in self.numbers() if n < number and self.has(n)]
        return found[-1] if found else None

    def _prune(self, held: Collection[int]) -> None:
        old = [n for n in self.numbers() if n not in (0, self.current(), *held)]
        for number in old[: max(0, len(old) - self.keep)]:
            shutil.rmtree(self.folder(number))


def _lock(handle: int) -> None:
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise PublishFailed(
                    f"another process has been switching versions for {LOCK_SECONDS} s; end it and try again"
                ) from error
            time.sleep(0.05)
        else:
            return
