"""The published folder and the versions in it.

`versions/N/` holds the files of release N; the link `current` names one of them.

Rolling back renames this link, which is atomic. No model is loaded for it.
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
    """The versions in one published folder."""

    root: Path
    keep: int  # versions on disk besides the base's and the current one
    table: PublishTable = field(
        default_factory=PublishTable
    )  # keys, and where servers find versions
    load: Callable[[], Mapping[str, "ConfiguredPublisher"]] = dict  # called on the first use

    @cached_property
    def publishers(self) -> Mapping[str, "ConfiguredPublisher"]:
        """The publishers that write a version, by name, the checkpoint first. Raises: BadConfig."""
        return self.load()

    def folder(self, number: int) -> Path:
        """The folder of a version, which may not exist."""
        return self.root / "versions" / str(number)

    def has(self, number: int) -> bool:
        """The version is on disk. A folder without a manifest is incomplete and does not count."""
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
        """Write a version, which `fill` puts into a folder: the whole version or nothing.

        An older version of the same number is replaced. sha256 and sign:
        see factd.editor.files.folders.write_sealed_folder.
        """
        folder, in_manifest = self.folder(number), {**about, "release": number}
        folder.parent.mkdir(parents=True, exist_ok=True)
        return write_sealed_folder(folder, fill, in_manifest, sha256=sha256, sign=sign)

    def discard(self, number: int) -> None:
        """Mark a version as damaged, so that it no longer counts as on disk.

        Its manifest is kept as manifest.damaged.json, so that an operator can look at it.
        """
        manifest = self.folder(number) / MANIFEST
        if manifest.exists():
            manifest.replace(manifest.with_name("manifest.damaged.json"))
            fsync(manifest.parent)

    def switch(self, number: int, *, epoch: int | None = None, held: Collection[int] = ()) -> None:
        """Point `current` to a version. Readers see the old version or the new one, never nothing.

        epoch: of the writer's lease. held: versions that somebody needs. They are not deleted,
        however old they are.
        Raises: PublishFailed: the version is not on disk, or a writer with a later epoch was here.
        """
        if not self.has(number):
            raise PublishFailed(
                f"version {number} is not on disk; `factd releases write {number}` writes it again"
            )
        with self._lock(epoch):
            link, part = self.root / "current", self.root / "current.tmp"
            part.unlink(missing_ok=True)
            part.symlink_to(Path("versions") / str(number))
            part.replace(link)
            fsync(self.root)
            self._prune(held)

    def fence(self, epoch: int) -> None:
        """Refuse every later switch by a writer with an earlier epoch.

        The folder stores the epoch.
        """
        with self._lock(epoch):
            pass

    @contextmanager
    def _lock(self, epoch: int | None) -> Iterator[None]:
        """Exclusive use of the folder.

        Raises: PublishFailed: a later epoch was here, or a timeout.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".epoch").open("a+") as file:
            _lock_file(file.fileno())
            file.seek(0)
            last = int(file.read() or 0)
            if epoch is not None and epoch < last:
                raise PublishFailed(
                    f"another process has taken over publishing to {self.root} "
                    f"(epoch {last}, ours is {epoch})"
                )
            if epoch is not None and epoch > last:
                file.truncate(0)
                file.write(str(epoch))
                file.flush()
                os.fsync(file.fileno())
            yield

    def current(self) -> int | None:
        """The number of the version that `current` points to. None: there is no such link."""
        link = self.root / "current"
        return int(link.readlink().name) if link.is_symlink() else None

    def numbers(self) -> list[int]:
        """The numbers of the version folders, ascending. Damaged versions are among them."""
        folder = self.root / "versions"
        paths = folder.iterdir() if folder.is_dir() else ()
        return sorted(int(path.name) for path in paths if path.name.isdigit())

    def previous(self, number: int) -> int | None:
        """The newest version on disk that is older than this one. None: there is none."""
        older = [n for n in self.numbers() if n < number and self.has(n)]
        return older[-1] if older else None

    def _prune(self, held: Collection[int]) -> None:
        old = [n for n in self.numbers() if n not in (0, self.current(), *held)]
        for number in old[: max(0, len(old) - self.keep)]:
            shutil.rmtree(self.folder(number))


def _lock_file(handle: int) -> None:
    until = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise PublishFailed(
                    f"another process has been switching versions for {LOCK_SECONDS} s; "
                    "end it and try again"
                ) from error
            time.sleep(0.05)
        else:
            return
