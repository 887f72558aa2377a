"""The errors of the editor.

EditorError
├── BadEdit             an edit cannot be written as it stands (names the line of its file)
├── BadSettings         an unknown key, a wrong type or a value out of range in a method's settings
├── ModelNotFound       the directory holds no model that `from_pretrained` can read
├── NotEditable         the model's kind cannot be edited (unknown family, experts, quantised, …)
├── DamagedArtefact     a file is missing or differs from its manifest (carries the path)
├── WrongModel          an artefact was computed for other weights
├── RankTooHigh         a delta does not fit into an adapter of the allowed rank (carries both)
├── WorkerLost          worker processes died or do not answer
└── SingularSystem      the closed form has no solution in finite numbers
    └── BadValue        a value is not finite (carries the number of its problem)

If an error is about one group of edits (one fact), its `group` names the group. The other groups
can be written without it.
"""

from pathlib import Path


class EditorError(Exception):
    """Base of all errors that the editor raises on purpose; one sentence for the operator."""

    group: str = ""  # of the edits that the error is about; "": not about one group


class BadEdit(EditorError):
    """An edit cannot be written as it stands."""


class BadSettings(EditorError):
    """A setting of a method is unknown, of the wrong type or out of range."""


class ModelNotFound(EditorError):
    """The directory holds no model that `from_pretrained` can read."""


class NotEditable(EditorError):
    """The model is of a kind that this editor cannot write into."""


class DamagedArtefact(EditorError):
    """A file is missing or differs from its manifest."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class WrongModel(EditorError):
    """An artefact was computed for other weights."""


class RankTooHigh(EditorError):
    """A delta does not fit into an adapter of the allowed rank."""

    def __init__(self, rank: int, max_rank: int) -> None:
        super().__init__(
            f"the delta has rank {rank}, an adapter may have {max_rank}; allow more (max_rank), "
            "cut it (truncate), or start from a new base with `factd rebase`"
        )
        self.rank = rank
        self.max_rank = max_rank

    def __reduce__(self) -> tuple[type["RankTooHigh"], tuple[int, int]]:
        return type(self), (self.rank, self.max_rank)


class WorkerLost(EditorError):
    """Worker processes died or do not answer."""


class SingularSystem(EditorError):
    """The closed form has no solution in finite numbers."""


class BadValue(SingularSystem):
    """A value is not finite."""

    def __init__(self, problem: int) -> None:
        super().__init__(
            "a value is not finite; check that the weights are finite, and lower the learning rate"
        )
        self.problem = problem  # its number among those that were given

    def __reduce__(self) -> tuple[type["BadValue"], tuple[int], dict[str, str]]:
        return type(self), (self.problem,), {"group": self.group}
