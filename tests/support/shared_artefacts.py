"""Expensive, read-only artefacts, made once for a run and copied by each test.

They are a migrated database and the second moments of edited models. The first process that needs
one makes it under a lock. Nothing changes it afterwards.
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
class SharedArtefacts:
    """The artefacts of one run, in a folder that all its processes share."""

    folder: Path

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def migrated(self, path: Path) -> str:
        """The URL of a new SQLite database with the schema."""
        template = self.folder / "factd.sqlite"
        with self._lock("sqlite"):
            if not template.exists():
                part = self.folder / "part.sqlite"
                migrate.upgrade(
                    f"sqlite:///{part}"
                )  # no connection is left, so the file is complete
                part.rename(template)
        shutil.copyfile(template, path)
        return f"sqlite:///{path}"

    def moments(
        self, workspace: Path, model: Path, *, tokens: int, layers: Sequence[int] = LAYERS
    ) -> Path:
        """Put second moments of a checkpoint, over text that it wrote itself, into a workspace.

        They lie where `moments_for` would write them, and are verified and used like its own.
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
            made, wanted = (moments_folder(w, *place) for w in (self.folder, workspace))
            if not wanted.exists():
                shutil.copytree(made, wanted)
        return workspace
