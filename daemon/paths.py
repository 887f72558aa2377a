"""Where the files of one factd lie."""

from dataclasses import dataclass
from pathlib import Path

from factd.store.model.bases import FOLDER


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The state folder, the original model, and what lies in them."""

    state: Path
    original: Path  # the model that [model] path names

    @property
    def workspace(self) -> Path:
        """Values, second moments and answers of base models, kept between edits."""
        return self.state / "workspace"

    def candidate(self, id_: int) -> Path:
        """The folder of a candidate's delta, report and answers."""
        return self.state / "candidates" / str(id_)

    def base(self, number: int) -> Path:
        """The folder of a base model. Number 0 is the original model."""
        return self.state / FOLDER / str(number) if number else self.original
