"""Where the text of the second moments comes from: files of several languages by weight, or the model itself.

A source hands out batches of token rows, always the same ones in the same order, so that an interrupted pass goes on
where it stopped and its name says what was read.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from factd.editor.errors import BadSettings
from factd.editor.files.folders import sha256_file
from factd.editor.models.generation import sample_rows
from factd.editor.models.model import EditableModel

ROWS = 128  # rows run at once
ROW_TOKENS = 64


class Source(Protocol):
    """Text for a model."""

    @property
    def name(self) -> str:
        """What was read: the same name, the same batches."""
        ...

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        """Token rows (rows, length) of one length each, from batch number `start` on."""
        ...


@dataclass(frozen=True)
class SelfGenerated:
    """What the model writes from nothing, seeded; endless. Needs no corpus and is by definition its own distribution."""

    seed: int = 0

    @property
    def name(self) -> str:
        """ "self-generated", with the seed where it is not 0."""
        return f"self-generated-{self.seed}" if self.seed else "self-generated"

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        """Batch n is sampled with seed + n."""
        first = model.tokenizer.bos_token_id
        first = model.tokenizer.eos_token_id if first is None else first
        ids = torch.full((ROWS, 1), first or 0, device=model.device)
        number = start
        while True:
            yield sample_rows(model, ids, new_tokens=ROW_TOKENS - 1, seed=self.seed + number)
            number += 1


@dataclass(frozen=True)
class File:
    """One file of a corpus: text (a paragraph a line) or, named *.jsonl, objects with a "text"."""

    path: Path
    weight: float = 1.0  # its share of the tokens, relative to the other files

    def texts(self) -> Iterator[str]:
        """The texts, in order. Raises: BadSettings: names the file and the line."""
        try:
            with self.path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield self._text(line.strip(), number)
        except (OSError, UnicodeDecodeError) as error:
            raise BadSettings(f"{self.path} cannot be read as UTF-8 text: {error}") from error

    def _text(self, line: str, number: int) -> str:
        if self.path.suffix != ".jsonl":
            return line
        try:
            return str(json.loads(line)["text"])
        except (ValueError, TypeError, KeyError) as error:
            raise BadSettings(f'{self.path} line {number}: no JSON object with a "text"') from error


@dataclass(frozen=True)
class Corpus:
    """Files read side by side by weight. One that ends leaves its share to the others."""

    files: tuple[File, ...]

    @property
    def name(self) -> str:
        """SHA-256 of the files' bytes and weights."""
        held = [[sha256_file(file.path), file.weight] for file in self.files]
        return hashlib.sha256(json.dumps(held).encode()).hexdigest()

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        """Texts one behind the other, cut into rows; a short end is one row."""
        left: list[int] = []
        size, number = ROWS * ROW_TOKENS, 0
        for ids in self._mixed(model):
            left += ids
            while len(left) >= size:
                if number >= start:
                    yield _rows(left[:size], model)
                left, number = left[size:], number + 1
        full = len(left) // ROW_TOKENS * ROW_TOKENS
        if left and number >= start:
            yield _rows(left[:full] or left, model)

    def _mixed(self, model: EditableModel) -> Iterator[list[int]]:
        """The texts' tokens; next comes always the file that is furthest behind its share."""
        open_files = {file: file.texts() for file in self.files}
        used = dict.fromkeys(self.files, 0)
        while open_files:
            file = min(open_files, key=lambda f: used[f] / f.weight)
            text = next(open_files[file], None)
            if text is None:
                del open_files[file]
                continue
            ids = model.tokenizer(text)["input_ids"]
            used[file] += len(ids)
            yield ids


def _rows(ids: Sequence[int], model: EditableModel) -> Tensor:
    return torch.tensor(ids, device=model.device).view(-1, min(ROW_TOKENS, len(ids)))


def source_of(files: Sequence[str], *, seed: int = 0) -> Source:
    """A source from settings: "FILE" or "FILE=WEIGHT" each; none: the model's own text.

    Raises: BadSettings: a file that is not there, a weight that is no number above 0.
    """
    if not files:
        return SelfGenerated(seed)
    return Corpus(tuple(_file(text) for text in files))


def _file(text: str) -> File:
    name, _, weight = text.partition("=")
    try:
        found = File(Path(name), float(weight or 1))
    except ValueError as error:
        raise BadSettings(f"a corpus is FILE or FILE=WEIGHT, not {text!r}") from error
    if not found.path.is_file() or not found.weight > 0:
        raise BadSettings(f"{text!r}: there is no such file, or its weight is not above 0")
    return found
