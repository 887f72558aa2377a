"""What the editor refuses, and why.

EditorError
├── BadEdit             an edit that cannot be written as it stands (names its line where it came from a file)
├── BadSettings         an unknown key, a wrong type or a value out of range in a method's settings
├── ModelNotFound       the directory is no model that `from_pretrained` reads
├── NotEditable         the model's kind cannot be edited (family unknown, slow tokenizer, experts, quantised)
├── DamagedArtefact     a file is missing or differs from its manifest (carries the path)
├── WrongModel          an artefact was computed for other weights than these
├── RankTooHigh         a delta fits into no adapter of the rank that is allowed (carries both)
├── WorkerLost          processes that share the work died or do not answer
└── SingularSystem      the closed form has no Cholesky factor, or a residual is not finite
    └── BadValue        a value is not finite

Where an error is about one group of edits (one fact), `group` names it: without it the others can go on.
"""

from pathlib import Path


class EditorError(Exception):
    """Base of all errors that the editor raises on purpose; the text is one sentence for the operator."""

    group: str = ""  # of the edits that it is about


class BadEdit(EditorError):
    """An edit that cannot be written as it stands."""


class BadSettings(EditorError):
    """Settings of a method that are unknown, of the wrong type or out of range."""


class ModelNotFound(EditorError):
    """The directory is no model that `from_pretrained` reads."""


class NotEditable(EditorError):
    """A model of a kind that this editor cannot write into."""


class DamagedArtefact(EditorError):
    """A file is missing or is not what its manifest says."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class WrongModel(EditorError):
    """An artefact was computed for other weights than these."""


class RankTooHigh(EditorError):
    """A delta fits into no adapter of the rank that is allowed."""

    def __init__(self, rank: int, max_rank: int) -> None:
        super().__init__(
            f"the delta has rank {rank}, an adapter may have {max_rank}; allow more (max_rank), cut it (truncate), or start "
            "from a new base with `factd rebase`"
        )
        self.rank = rank
        self.max_rank = max_rank

    def __reduce__(self) -> tuple[type["RankTooHigh"], tuple[int, int]]:
        return type(self), (self.rank, self.max_rank)


class WorkerLost(EditorError):
    """Processes that share the work died or do not answer."""


class SingularSystem(EditorError):
    """The closed form has no solution in finite numbers."""


class BadValue(SingularSystem):
    """The value of a slot is not a finite number."""

    def __init__(self, slot: int) -> None:
        super().__init__(
            "a value is not finite; are the weights finite and the learning rate sane?"
        )
        self.slot = slot

    def __reduce__(self) -> tuple[type["BadValue"], tuple[int], dict[str, str]]:
        return type(self), (self.slot,), {"group": self.group}
