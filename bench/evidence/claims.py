"""Claims: pieces of the documentation whose figures come from JSON files.

docs/results/claims.toml holds them. A file of results is declared with the command that makes it:

    [files."frontier.json"]
    command = "make bench-frontier"

A claim is a text as the document prints it, with a placeholder for every figure:

    [[claims]]
    document = "README.md"
    text = "weight {frontier.json/results/0/weight}: {frontier.json/results/0/kept:.2f} kept"

A placeholder is a file, a JSON pointer (RFC 6901), at will a number to multiply by (`*100`) or to
add (`+-1`), and a format (Python's; none: as it stands). With `file = "frontier.json"` in the claim
a placeholder may begin with the pointer. A claim with `each` stands for many: its pointer holds a
`*` for every key or index, each claim has the keys in place of the `*` of its placeholders, and
`{@1}` is the first of these keys.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

PLACEHOLDER = re.compile(r"\{([^{}]+)\}")
PARTS = re.compile(
    r"(?P<file>[\w.-]+)?(?P<pointer>/.*?)(?P<change>[*+]-?\d[\d.]*)?(?P<format>:[^:/]*)?"
)
STATED = ("command", "date", "device")  # what a file of results says about its making


class BadClaim(Exception):
    """A claim that cannot be read: the text names it and says what to do."""


@dataclass(frozen=True, kw_only=True)
class ResultFile:
    """A file of results."""

    name: str
    command: str  # makes it, from the root of the repository
    data: Any  # None: the file is missing

    @property
    def is_stated(self) -> bool:
        """Whether the file names its command, its date and the machine."""
        return isinstance(self.data, dict) and all(self.data.get(key) for key in STATED)

    def is_of(self, code: str) -> bool:
        """Whether the file was made with code of this digest."""
        return self.is_stated and self.data.get("code") == code


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A part of a claim: words, or a figure with where it stands."""

    text: str
    file: str = ""  # empty: words
    pointer: str = ""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A piece of a document, with the figures that the files hold today."""

    document: str
    pieces: tuple[Piece, ...]

    @property
    def text(self) -> str:
        """The text that the document must hold."""
        return "".join(piece.text for piece in self.pieces)

    @property
    def figures(self) -> tuple[Piece, ...]:
        """Its figures."""
        return tuple(piece for piece in self.pieces if piece.file)


@dataclass(frozen=True, kw_only=True)
class ClaimedFigures:
    """All claims, and the files in which their figures stand."""

    documents: tuple[str, ...]
    files: Mapping[str, ResultFile]
    claims: tuple[Claim, ...]


def load_evidence(path: Path) -> ClaimedFigures:
    """The claims of a TOML file, filled from the JSON files beside it.

    Raises: BadClaim: a claim names a file, a key or a format that does not exist.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    files = {
        name: ResultFile(name=name, command=row["command"], data=read_json(path.parent / name))
        for name, row in table["files"].items()
    }
    claims = tuple(claim for row in table["claims"] for claim in claims_of(row, files))
    return ClaimedFigures(documents=tuple(table["documents"]), files=files, claims=claims)


def read_json(path: Path) -> Any:
    """The content of a JSON file; None if it is missing."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def claims_of(row: Mapping[str, str], files: Mapping[str, ResultFile]) -> Iterator[Claim]:
    """The claims of one entry: one, or one for each match of its `each`."""
    each, file = row.get("each", ""), row.get("file", "")
    bindings = list(matches(data_of(files, file), each.split("/")[1:])) if each else [()]
    if not bindings:
        raise BadClaim(f"{each} matches nothing in {file}; correct the claim")
    for keys in bindings:
        pieces = tuple(pieces_of(row["text"], file, keys, files))
        if not any(piece.file for piece in pieces):
            raise BadClaim(f"{row['text']!r} has no figure; add one or remove the claim")
        yield Claim(document=row["document"], pieces=pieces)


def matches(data: Any, pattern: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The keys that stand for the `*` of a pointer, for every value that it matches."""
    if not pattern:
        yield ()
        return
    first, rest = unescaped(pattern[0]), pattern[1:]
    keys = keys_of(data) if first == "*" else [first]
    for key in keys:
        for more in matches(child(data, key), rest):
            yield (key, *more) if first == "*" else more


def keys_of(data: Any) -> list[str]:
    """The keys of an object or the indices of a list, as text."""
    return [str(n) for n in range(len(data))] if isinstance(data, list) else list(data)


def child(data: Any, key: str) -> Any:
    """The value under a key or an index. Raises: KeyError, IndexError, ValueError, TypeError."""
    return data[int(key)] if isinstance(data, list) else data[key]


def unescaped(token: str) -> str:
    """A token of a JSON pointer as the key that it names."""
    return token.replace("~1", "/").replace("~0", "~")


def pieces_of(
    text: str, file: str, keys: Sequence[str], files: Mapping[str, ResultFile]
) -> Iterator[Piece]:
    """The pieces of a claim's text. keys: what stands for `*`."""
    end = 0
    for found in PLACEHOLDER.finditer(text):
        if found.start() > end:
            yield Piece(text=text[end : found.start()])
        yield figure(found[1], file, keys, files)
        end = found.end()
    if text[end:]:
        yield Piece(text=text[end:])


def figure(said: str, file: str, keys: Sequence[str], files: Mapping[str, ResultFile]) -> Piece:
    """The figure of a placeholder, as the document prints it."""
    if said.startswith("@"):
        return Piece(text=keys[int(said[1:]) - 1], file=file, pointer="(its key)")
    parts = PARTS.fullmatch(said)
    if parts is None:
        raise BadClaim(f"{{{said}}} is no pointer; write {{file.json/key/key:.2f}}")
    name = parts["file"] or file
    pointer = bound(parts["pointer"], keys)
    value = changed(value_at(data_of(files, name), pointer, name), parts["change"] or "")
    return Piece(text=printed(value, (parts["format"] or ":")[1:]), file=name, pointer=pointer)


def printed(value: Any, form: str) -> str:
    """A value as documents print it; a dash for NaN."""
    return "–" if isinstance(value, float) and isnan(value) else format(value, form)


def bound(pointer: str, keys: Sequence[str]) -> str:
    """A pointer with keys in place of its `*`, in order."""
    left = [key.replace("~", "~0").replace("/", "~1") for key in keys]
    return "/".join(left.pop(0) if token == "*" and left else token for token in pointer.split("/"))


def data_of(files: Mapping[str, ResultFile], name: str) -> Any:
    """The content of a declared file. Raises: BadClaim: it is not declared or missing."""
    if name not in files:
        raise BadClaim(f"{name or 'a claim without a file'} is not declared; add [files.{name!r}]")
    if files[name].data is None:
        raise BadClaim(f"{name} is missing; run `{files[name].command}`")
    return files[name].data


def value_at(data: Any, pointer: str, name: str) -> Any:
    """The value at a JSON pointer. Raises: BadClaim: there is none, or it is no single value."""
    try:
        for token in pointer.split("/")[1:]:
            data = child(data, unescaped(token))
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise BadClaim(f"{name} has nothing at {pointer}; correct the claim") from error
    if isinstance(data, dict | list) or data is None:
        raise BadClaim(f"{name} has no single value at {pointer}; correct the claim")
    return data


def changed(value: Any, change: str) -> Any:
    """A value times a number (`*100`) or plus one (`+-1`); as it is without a change."""
    if not change:
        return value
    number = float(change[1:])
    return value * number if change[0] == "*" else value + number
