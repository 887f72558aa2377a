"""The text of the second moments: files by weight, or text that the model writes itself.

The files may be of several languages. A source gives batches of token rows, always the same ones in
the same order. So an interrupted pass can resume where it stopped, and the source's name says what
was read.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from factd.editor.errors import BadSettings
from factd.editor.files.folders import sha256_file, verify_folder, write_folder
from factd.editor.models.generation import sample_rows
from factd.editor.models.model import EditableModel

ROWS = 128  # rows in a batch
ROW_TOKENS = 64


class TextSource(Protocol):
    """Text for a model, as token rows."""

    @property
    def name(self) -> str:
        """An identifier of the text: sources with the same name give the same batches."""
        ...

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        """Token rows (rows, length) int64 of one length, from batch number `start` on."""
        ...


@dataclass(frozen=True)
class SelfGenerated:
    """Endless seeded text that the model writes from nothing.

    It needs no corpus, and it is the model's own distribution by definition.
    """

    seed: int = 0

    @property
    def name(self) -> str:
        """ "self-generated", followed by the seed unless that is 0."""
        return f"self-generated-{self.seed}" if self.seed else "self-generated"

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        """See `TextSource.batches`; batch n is sampled with seed + n."""
        number = start
        while True:
            yield self.batch(model, number)
            number += 1

    def batch(
        self, model: EditableModel, number: int, written: Callable[[int], None] | None = None
    ) -> Tensor:
        """Batch n, (ROWS, ROW_TOKENS) int64.

        written: is told how many tokens of the batch there are, after each step.
        """
        first = model.tokenizer.bos_token_id
        first = model.tokenizer.eos_token_id if first is None else first
        ids = torch.full((ROWS, 1), first or 0, device=model.device)
        return sample_rows(
            model, ids, new_tokens=ROW_TOKENS - 1, seed=self.seed + number, written=written
        )


@dataclass(frozen=True)
class KeptText:
    """Self-generated text that is written once and read again from a folder.

    Writing takes most of the time of the second moments. The layers of a model are often asked for
    one after the other.
    """

    source: SelfGenerated
    folder: Path
    written: Callable[[int], None] | None = None  # is told of the tokens of a batch so far

    @property
    def name(self) -> str:
        """That of the source."""
        return self.source.name

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        """See `TextSource.batches`. Raises: DamagedArtefact: a kept file is damaged."""
        number = start
        while True:
            folder = self.folder / f"batch-{number}"
            if not folder.exists():
                self._write(model, number, folder)
            verify_folder(folder)
            yield load_file(folder / "text.safetensors")["ids"].to(model.device)
            number += 1

    def _write(self, model: EditableModel, number: int, folder: Path) -> None:
        ids = self.source.batch(model, number, self.written).cpu().contiguous()
        about = {"fingerprint": model.fingerprint, "source": self.name, "batch": number}
        write_folder(folder, lambda part: save_file({"ids": ids}, part / "text.safetensors"), about)


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus: a paragraph a line, or in a *.jsonl an object with a "text"."""

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
            raise BadSettings(
                f'{self.path} line {number} is not a JSON object with a "text"; '
                "correct or delete it"
            ) from error


@dataclass(frozen=True)
class Corpus:
    """Files read side by side by weight. A file that ends leaves its share to the others."""

    files: tuple[CorpusFile, ...]

    @property
    def name(self) -> str:
        """SHA-256 of the files' bytes and weights, hexadecimal."""
        content = [[sha256_file(file.path), file.weight] for file in self.files]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def batches(self, model: EditableModel, start: int) -> Iterator[Tensor]:
        """See `TextSource.batches`; the texts one after the other, cut into rows.

        The last batch has fewer rows, or one short row. Raises: BadSettings: a file or line cannot
        be read.
        """
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
        """The texts' tokens; the next text is of the file furthest behind its share."""
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


def source_of(files: Sequence[str], *, seed: int = 0) -> TextSource:
    """A source from settings: files as "FILE" or "FILE=WEIGHT", or else the model's own text.

    seed: of the model's own text. Raises: BadSettings: a file does not exist, or a weight is not a
    number above 0.
    """
    if not files:
        return SelfGenerated(seed)
    return Corpus(tuple(_corpus_file(text) for text in files))


def _corpus_file(text: str) -> CorpusFile:
    name, _, weight = text.partition("=")
    try:
        file = CorpusFile(Path(name), float(weight or 1))
    except ValueError as error:
        raise BadSettings(f"a corpus is FILE or FILE=WEIGHT, not {text!r}") from error
    if not file.path.is_file() or not file.weight > 0:
        raise BadSettings(f"{text!r}: there is no such file, or its weight is not above 0")
    return file
