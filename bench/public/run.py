"""The bench of record: draw records, make every row, and write the document after each.

    factd bench public --model smollm2 --data counterfact.json [--method memit …] [--out FILE]

Every row is kept in the run folder under everything that it depends on, so that a run that was
killed goes on where it stopped, and a run with one more method makes that method's rows only.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from factd.bench.public.asking import ANSWER_TOKENS, judged
from factd.bench.public.in_context import SEPARATOR
from factd.bench.public.pieces import Pieces
from factd.bench.public.plan import DEFAULT_METHODS, Entry, entries
from factd.bench.public.records import BLOCK, GENERAL, Drawn, draw, known_records
from factd.bench.public.report import document
from factd.bench.public.rows import TEXT, MethodRow, make_row, row_from
from factd.bench.quality.world import WORKSPACE
from factd.daemon.errors import Refused
from factd.daemon.models import resolve
from factd.editor.datasets import Record, read_records
from factd.editor.files.folders import sha256_file
from factd.editor.models.model import EditableModel, load_model
from factd.editor.progress import Progress, silent
from factd.editor.scoring.score import greedy_answers

FOLDER = WORKSPACE / "public"  # of finished pieces
SAMPLE = 40  # answers in the document, for a person to read
VERSION = 1  # of what a row measures; a higher number makes all rows again


@dataclass(frozen=True, kw_only=True)
class PublicJob:
    """The arguments of one `factd bench public`."""

    model: Path
    data: Path
    format_name: str = ""  # "": found by looking at the file
    methods: tuple[str, ...] = DEFAULT_METHODS
    given: Mapping[str, Any] = field(default_factory=dict)  # settings, see `plan.entries`
    strengths: Mapping[str, Sequence[float]] = field(default_factory=dict)
    count: int = 50  # records to edit at most
    bystanders: int = 150  # at most
    seeds: tuple[int, ...] = (0,)
    language: str = "en"
    folder: Path = FOLDER
    out: Path | None = None  # JSON, written after each row
    plot: Path | None = None

    @classmethod
    def of(cls, model: str, data: Path, *, methods: tuple[str, ...], **more: Any) -> "PublicJob":
        """A job for a model by its name or folder. methods: () for the default ones.

        Raises: Refused: the model has a name, and it was not fetched yet.
        """
        return cls(model=resolve(model), data=data, methods=methods or DEFAULT_METHODS, **more)

    def kept_in(self, folder: Path | None) -> "PublicJob":
        """This job with another folder of finished pieces; None: its own."""
        return self if folder is None else replace(self, folder=folder)

    def command(self) -> str:
        """The command line that measures this again; files and folders by their names alone."""
        words = ["factd bench public", f"--model {self.model.name}", f"--data {self.data.name}"]
        words += [f"--format {self.format_name}"] if self.format_name else []
        words += [f"--method {method}" for method in self.methods]
        words += [f"--set {key}={_toml(value)}" for key, value in self.given.items()]
        words += [f"--strength {key}={_toml(list(v))}" for key, v in self.strengths.items()]
        words += [f"--count {self.count}", f"--bystanders {self.bystanders}"]
        return " ".join([*words, *(f"--seed {seed}" for seed in self.seeds)])


def _toml(value: Any) -> str:
    """A setting as the command line takes it, without spaces."""
    return json.dumps(value, separators=(",", ":"))


def run(job: PublicJob, *, progress: Progress = silent) -> dict[str, Any]:
    """Make all rows and return the document.

    Raises: Refused: the model knows fewer than two of the records. BadEdit, BadSettings: the data
    or the settings cannot be read.
    """
    plan = entries(job.methods, job.model, given=job.given, strengths=job.strengths)
    read = read_records(job.data, job.format_name, languages=(job.language,))
    bench = Bench(
        job=job,
        model=load_model(job.model),
        records=read.records,
        pieces=Pieces(job.folder),
        data_sha256=sha256_file(job.data),
        progress=progress,
    )
    known = bench.known()
    rows: list[tuple[Entry, Drawn, MethodRow]] = []
    draws = [bench.drawn(known, seed) for seed in job.seeds]
    wanted = [(entry, drawn) for entry in plan for drawn in draws]
    about = {**bench.about(), "bad_records": len(read.bad), "known_records": len(known)}
    for n, (entry, drawn) in enumerate(wanted, start=1):
        rows.append((entry, drawn, bench.row(entry, drawn)))
        progress("rows", n, len(wanted))
        sample = sample_of_answers(rows, SAMPLE, seed=0)
        data = document(rows, {**about, "complete": n == len(wanted), "sample": sample})
        _write(job.out, data)
    if job.plot is not None:
        from factd.bench.public.plot import frontier_figure  # imports matplotlib

        frontier_figure(data).savefig(job.plot, dpi=130)
    return data


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A model, the records of a data set, and the pieces that are finished."""

    job: PublicJob
    model: EditableModel
    records: tuple[Record, ...]
    pieces: Pieces
    data_sha256: str
    progress: Progress

    def about(self) -> dict[str, Any]:
        """What was measured on what."""
        return {
            "model": self.job.model.name,
            "fingerprint": self.model.fingerprint,
            "data": self.job.data.name,
            "data_sha256": self.data_sha256,
            "language": self.job.language,
            "records": len(self.records),
            "seeds": list(self.job.seeds),
            "answer_tokens": ANSWER_TOKENS,
            "command": self.job.command(),
        }

    def key(self, piece: str, **more: Any) -> dict[str, Any]:
        """The key of a piece: what all pieces depend on, and more."""
        common = {
            "version": VERSION,
            "base": self.model.fingerprint,
            "data": self.data_sha256,
            "format": self.job.format_name,
            "language": self.job.language,
        }
        return {"piece": piece, **common, **more}

    def ask(self, prompts: Sequence[str]) -> list[str]:
        """The base model's greedy answers, a block of questions after the other."""
        found: list[str] = []
        blocks = [list(prompts[i : i + BLOCK]) for i in range(0, len(prompts), BLOCK)]
        for number, block in enumerate(blocks, start=1):
            key = self.key("answers", tokens=ANSWER_TOKENS, prompts=block)
            ask = partial(greedy_answers, self.model, block, new_tokens=ANSWER_TOKENS)
            found += self.pieces.json(key, ask)
            self.progress("blocks of questions to the base model", number, len(blocks))
        return found

    def known(self) -> tuple[Record, ...]:
        """The records whose old object the model gives.

        Raises: Refused: there are fewer than two.
        """
        found = known_records(self.records, self.ask)
        if len(found) < 2:
            raise Refused(
                f"{self.job.model} knows {len(found)} of the {len(self.records)} records of "
                f"{self.job.data}; use another model or other data"
            )
        return found

    def drawn(self, known: Sequence[Record], seed: int) -> Drawn:
        """What a seed draws."""
        return draw(
            self.records,
            known,
            self.ask,
            seed=seed,
            count=self.job.count,
            bystanders=self.job.bystanders,
        )

    def row(self, entry: Entry, drawn: Drawn) -> MethodRow:
        """The row of an entry for the records of a seed: a finished piece, or made now."""
        settings = asdict(entry.settings) if entry.settings is not None else {}
        key = self.key(
            "rows",
            kind=entry.kind,
            settings=settings,
            records=[r.id for r in drawn.records],
            bystanders=[p.prompt for p in drawn.bystanders],
            texts=[sha256_file(TEXT), sha256_file(GENERAL)],
            separator=SEPARATOR,
            tokens=ANSWER_TOKENS,
        )
        work = self.job.folder / "work"
        data = self.pieces.json(
            key, lambda: make_row(self.model, entry, drawn, work, self.progress).as_json()
        )
        row = row_from(data)
        return replace(row, outcomes=judged(row.outcomes, (*drawn.probes, *drawn.bystanders)))


def short(data: Mapping[str, Any]) -> dict[str, Any]:
    """The document without the parts that are too long for a terminal."""
    return {k: v for k, v in data.items() if k not in ("figures", "comparison", "sample")}


def sample_of_answers(
    rows: Sequence[tuple[Entry, Drawn, MethodRow]], count: int, seed: int
) -> list[Any]:
    """Random questions with their greedy answers and the judge's verdict, for a person to read."""
    every = [
        {"method": e.method, "prompt": p.prompt, "answer": o.text, "right": o.right}
        for e, drawn, row in rows
        for p, o in zip((*drawn.probes, *drawn.bystanders), row.outcomes, strict=True)
        if o.right is not None
    ]
    return random.Random(seed).sample(every, min(count, len(every)))


def _write(path: Path | None, data: Mapping[str, Any]) -> None:
    """Write the document, whole or not at all."""
    if path is None:
        return
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
