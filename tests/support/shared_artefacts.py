"""What one run of the tests makes once and every test copies: a migrated database, second moments of the models they edit.

Whichever process needs one first makes it, under a lock; nothing that lies here is changed afterwards.
"""

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from factd.store.database import migrate

LAYERS = (0, 1, 2)


@dataclass(frozen=True)
class Kept:
    """The things that are made once."""

    folder: Path  # of all processes of the run

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def migrated(self, path: Path) -> str:
        """The URL of a new SQLite database with the schema."""
        kept = self.folder / "factd.sqlite"
        with self._lock("sqlite"):
            if not kept.exists():
                part = self.folder / "part.sqlite"
                migrate.upgrade(f"sqlite:///{part}")  # no connection is left: the file is whole
                part.rename(kept)
        shutil.copyfile(kept, path)
        return f"sqlite:///{path}"

    def moments(
        self, workspace: Path, model: Path, *, tokens: int, layers: Sequence[int] = LAYERS
    ) -> Path:
        """The workspace, with the second moments of a checkpoint over text of its own, as `moments_for` leaves them there.

        They are verified and used as if they had been built there.
        """
        from factd.editor import load_model
        from factd.editor.models.model import fingerprint
        from factd.editor.moments.corpus import SelfGenerated
        from factd.editor.moments.moments import moments_folder, moments_for

        base, source = fingerprint(model), SelfGenerated()
        places = [(base, layer, tokens, source.name) for layer in layers]
        with self._lock(base):
            if not all(moments_folder(self.folder, *place).exists() for place in places):
                loaded = load_model(model)
                moments_for(loaded, layers, tokens=tokens, source=source, workspace=self.folder)
        for place in places:
            found, wanted = (moments_folder(w, *place) for w in (self.folder, workspace))
            if not wanted.exists():
                shutil.copytree(found, wanted)
        return workspace
