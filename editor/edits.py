"""Edits (associations to write into the weights), and batches that are solved at once."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from factd.editor.errors import BadEdit

ANY = "?"  # target_new of a fact that the model knows and that is not to be edited
LINE_FIELDS = (  # the fields of a line in a file
    "prompt",
    "subject",
    "target_new",
    "target_true",
    "language",
)


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One association to write into the weights.

    Raises: BadEdit: a prompt, also one of `keep`, does not hold `{}` once, or has other braces; a
    text is empty; target_new is target_true.
    """

    prompt: str  # holds "{}" once, where the subject goes, and ends where the target starts
    subject: str
    target_new: str
    target_true: str | None = None  # what the model says today, if known; used in measurements only
    language: str = "en"  # BCP 47
    keep: tuple[
        str, ...
    ] = ()  # prompts with one "{}" about the same subject, whose answers must not change
    group: str = (
        ""  # a fact version; the values of its edits are computed together; "": this edit alone
    )

    def __post_init__(self) -> None:
        for name in ("prompt", "subject", "target_new", "language"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise BadEdit(f"{name} must be a text that is not empty, not {value!r}")
        for prompt in (self.prompt, *self.keep):
            if prompt.count("{}") != 1:
                raise BadEdit(f"the prompt must hold {{}} once, where the subject goes: {prompt!r}")
            if set("{}") & set(prompt.replace("{}", "")):
                raise BadEdit(f"the prompt may have no braces besides {{}}: {prompt!r}")
        if self.target_new == self.target_true:
            raise BadEdit(
                f"target_new is target_true: {self.target_new!r}; there is nothing to write"
            )

    @property
    def key(self) -> str:
        """SHA-256 of all fields that the edit's value depends on, hexadecimal."""
        content = asdict(replace(self, target_true=None))
        return hashlib.sha256(
            json.dumps(content, sort_keys=True, ensure_ascii=False).encode()
        ).hexdigest()


@dataclass(frozen=True)
class EditBatch:
    """Edits that are solved at once, in the order of their keys; made by `EditBatch.of`."""

    edits: tuple[Edit, ...]

    @classmethod
    def of(cls, edits: Iterable[Edit]) -> "EditBatch":
        """A batch in canonical order, without exact repeats.

        Raises: BadEdit: two edits ask for different targets of one prompt, subject and language.
        """
        unique: dict[str, Edit] = {}
        targets: dict[tuple[str, str, str], Edit] = {}
        for edit in edits:
            other = targets.setdefault((edit.prompt, edit.subject, edit.language), edit)
            if other.target_new != edit.target_new:
                asked = edit.prompt.format(edit.subject)
                raise BadEdit(
                    f"{asked!r} has two targets, {other.target_new!r} and {edit.target_new!r}; "
                    "keep one of them"
                )
            unique.setdefault(edit.key, edit)
        return cls(tuple(unique[key] for key in sorted(unique)))

    @property
    def id(self) -> str:
        """SHA-256 of the edits' keys, hexadecimal: the same set has the same id in any order."""
        return hashlib.sha256("\n".join(edit.key for edit in self.edits).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.edits)

    def groups(self) -> tuple[tuple[Edit, ...], ...]:
        """Edits whose values are computed together, in the order of their first key."""
        members: dict[str, list[Edit]] = {}
        for edit in self.edits:
            members.setdefault(edit.group or edit.key, []).append(edit)
        return tuple(tuple(edits) for edits in members.values())


def read_edits(path: Path) -> EditBatch:
    """The edits of a JSONL file, one object a line, as a batch.

    Raises: BadEdit: names the first line that is wrong and says why; or two lines contradict each
    other.
    """
    return EditBatch.of(edit for _, edit in read_lines(path))


def read_lines(path: Path) -> tuple[tuple[int, Edit], ...]:
    """The edits of a JSONL file with their line numbers, in the order of the file.

    Raises: BadEdit: names the first line that is wrong, or that repeats or contradicts an earlier
    one.
    """
    seen: dict[tuple[str, str, str], tuple[int, str]] = {}
    edits = []
    for number, edit in _numbered(path, _edit):
        place = (edit.prompt, edit.subject, edit.language)
        first, target = seen.setdefault(place, (number, edit.target_new))
        if target != edit.target_new:
            raise BadEdit(f"{path} line {number}: contradicts line {first}, which says {target!r}")
        if first != number:
            raise BadEdit(f"{path} line {number}: repeats line {first}; delete one of them")
        edits.append((number, edit))
    if not edits:
        raise BadEdit(f"{path} holds no edits; write one JSON object a line")
    return tuple(edits)


def read_known(path: Path) -> tuple[Edit, ...]:
    """Facts that a model knows, from a JSONL file with prompt, subject, target_true, language.

    The language may be missing. The target_new of each is `ANY`. Lines of one fact in other
    wordings are its paraphrases.

    Raises: BadEdit: names the first line that is wrong.
    """
    return tuple(edit for _, edit in _numbered(path, _known))


def _numbered(path: Path, parse: Callable[[str], Edit]) -> Iterator[tuple[int, Edit]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadEdit(f"{path} cannot be read as UTF-8 text: {error}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                yield number, parse(line)
            except BadEdit as error:
                raise BadEdit(f"{path} line {number}: {error}") from error


def _edit(line: str) -> Edit:
    data = _object(line, ("prompt", "subject", "target_new"))
    if data["target_new"] == "":
        raise BadEdit("target_new is empty; write what the model is to say")
    return Edit(**{name: data[name] for name in LINE_FIELDS if data.get(name) is not None})


def _known(line: str) -> Edit:
    data = _object(line, ("prompt", "subject", "target_true")) | {"target_new": ANY}
    return Edit(**{name: data[name] for name in LINE_FIELDS if data.get(name) is not None})


def _object(line: str, needed: Sequence[str]) -> dict[str, Any]:
    """The JSON object of a line. Raises: BadEdit: it is none, or lacks a needed field."""
    try:
        data: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise BadEdit(f"not a JSON object ({error.msg} at column {error.colno})") from error
    if not isinstance(data, dict):
        raise BadEdit("not a JSON object")
    missing = [name for name in needed if name not in data]
    if missing:
        raise BadEdit(f"{missing[0]} is missing")
    return data
