"""An exam: everything that a model is asked at once, what one model made of it, and the memory that asks nothing twice."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from math import isnan, nan
from pathlib import Path
from typing import Any

from factd.editor.checks import Evidence, RankingEvidence, Rankings, TextEvidence
from factd.editor.deltas.delta import Delta, applied
from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import write_file
from factd.editor.models.model import EditableModel
from factd.editor.models.workers import done, in_order
from factd.editor.scoring.drift import TextScores, text_scores
from factd.editor.scoring.rankings import Question, rank_candidates
from factd.editor.scoring.score import Answer, Probe, answers, is_right

MAX_CACHED_ANSWERS = 200_000  # answers of one model, at most


@dataclass(frozen=True, kw_only=True)
class Exam:
    """Everything that a model is asked."""

    probes: tuple[Probe, ...] = ()
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # held out, by language
    questions: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)  # the same in each

    def __len__(self) -> int:
        return len(self.probes)

    def as_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # a dict stays one

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Exam":
        """The exam that `as_json` wrote."""
        lists = ("accepted", "written_in", "foreign")
        rows: list[dict[str, Any]] = [
            {k: tuple(v) if k in lists else v for k, v in p.items()} for p in data["probes"]
        ]
        return cls(
            probes=tuple(Probe(**row) for row in rows),
            texts={k: tuple(v) for k, v in data["texts"].items()},
            questions={k: tuple((p, c) for p, c in v) for k, v in data["questions"].items()},
        )

    def counts(self) -> dict[str, int]:
        """The number of questions by kind and language."""
        found = Counter(f"{p.kind} {p.language}" for p in self.probes)
        found |= Counter({f"text {k}": len(v) for k, v in self.texts.items()})
        found |= Counter({f"ranked {k}": len(v) for k, v in self.questions.items()})
        return dict(sorted(found.items()))


@dataclass(frozen=True, kw_only=True)
class ExamResults:
    """What one model made of an exam."""

    answers: tuple[Answer, ...]
    texts: Mapping[str, TextScores]
    rankings: Mapping[str, Rankings]


@dataclass
class AnswerCache:
    """What one model answered before, under what it was asked; of no use to another model."""

    path: Path | None = None  # of a JSON file; None: for this process only
    entries: dict[str, Any] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def load(cls, path: Path) -> "AnswerCache":
        """The memory of a file, empty where there is none. Raises: DamagedArtefact: it is no JSON object."""
        if not path.exists():
            return cls(path)
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedArtefact(path, f"cannot be read ({error}); delete it") from error
        if not isinstance(held, dict):
            raise DamagedArtefact(path, "is no memory of answers; delete it")
        return cls(path, held)

    def save(self) -> None:
        """Write what was learned, whole or not at all; of much, the latest."""
        if self.path is None or not self.changed:
            return
        self.entries = dict(list(self.entries.items())[-MAX_CACHED_ANSWERS:])
        write_file(self.path, json.dumps(self.entries, ensure_ascii=False).encode())
        self.changed = False

    def add(self, entries: Mapping[str, Any]) -> None:
        """Keep some answers."""
        self.entries |= entries
        self.changed |= bool(entries)


def take_exam(
    model: EditableModel,
    exam: Exam,
    *,
    delta: Delta | None = None,
    terminator: str = "",
    cache: AnswerCache | None = None,
) -> ExamResults:
    """What the model with a delta (None: the base) makes of an exam; what its memory holds is not asked again."""
    cache = cache or AnswerCache()
    found = ExamResults(
        answers=_answered(model, exam.probes, delta, terminator, cache),
        texts=_texts_read(model, exam.texts, delta, cache),
        rankings=_ranked(model, exam.questions, delta, cache),
    )
    cache.save()
    return found


def evidence_of(
    exam: Exam,
    base: ExamResults,
    now: ExamResults,
    live: ExamResults | None = None,
    diagnostics: Mapping[str, float] | None = None,
) -> Evidence:
    """What the checks look at, from what three models made of the same exam."""
    return Evidence(
        probes=exam.probes,
        before=base.answers,
        after=now.answers,
        live=live.answers if live else None,
        texts={
            k: TextEvidence(after=read, live=live.texts[k] if live else None)
            for k, read in now.texts.items()
        },
        ranked={
            k: RankingEvidence(
                before=base.rankings[k], after=order, live=live.rankings[k] if live else None
            )
            for k, order in now.rankings.items()
        },
        diagnostics=diagnostics or {},
    )


def answers_with(
    model: EditableModel, probes: Sequence[Probe], delta: Delta | None, terminator: str
) -> tuple[Answer, ...]:
    """What a model with a delta answers, asked by its workers if it has any."""
    results = done(model, answers_of_probes, probes, delta=delta, terminator=terminator)
    return tuple(in_order(results, len(probes)))


def answers_of_probes(
    model: EditableModel, probes: Sequence[Probe], *, delta: Delta | None, terminator: str
) -> Iterator[tuple[int, Answer]]:
    """The task of `answers_with`."""
    with applied(model, delta) if delta else nullcontext():
        yield from enumerate(answers(model, probes, terminator=terminator))


def _answered(
    model: EditableModel,
    probes: Sequence[Probe],
    delta: Delta | None,
    terminator: str,
    cache: AnswerCache,
) -> tuple[Answer, ...]:
    def key(probe: Probe) -> str:
        return "\t".join((probe.prompt, probe.target + terminator, probe.contrast or ""))

    fresh = list({key(p): p for p in probes if key(p) not in cache.entries}.values())
    found = answers_with(model, fresh, delta, terminator)
    cache.add({key(p): _kept(answer) for p, answer in zip(fresh, found, strict=True)})
    held = [_recalled(cache.entries[key(p)]) for p in probes]
    return tuple(
        replace(a, right=is_right(a.text, p.accepted)) for p, a in zip(probes, held, strict=True)
    )


def _kept(answer: Answer) -> list[Any]:
    numbers = [None if isnan(n) else n for n in (answer.target_nll, answer.contrast_nll)]
    return [*numbers, answer.accurate, answer.text]


def _recalled(row: Sequence[Any]) -> Answer:
    target, contrast = (nan if n is None else float(n) for n in row[:2])
    return Answer(
        target_nll=target,
        contrast_nll=contrast,
        accurate=bool(row[2]),
        text=str(row[3]),
        right=False,
    )


def _texts_read(
    model: EditableModel,
    texts: Mapping[str, Sequence[str]],
    delta: Delta | None,
    cache: AnswerCache,
) -> dict[str, TextScores]:
    def read(language: str) -> Any:
        return asdict(text_scores(model, delta, {language: texts[language]})[language])

    rows = {k: _once(cache, "texts", held, partial(read, k)) for k, held in texts.items()}
    return {k: TextScores(**{n: tuple(v) for n, v in row.items()}) for k, row in rows.items()}


def _ranked(
    model: EditableModel,
    questions: Mapping[str, Sequence[Question]],
    delta: Delta | None,
    cache: AnswerCache,
) -> dict[str, Rankings]:
    def rank(asked: Sequence[Question]) -> Any:
        with applied(model, delta) if delta else nullcontext():
            return rank_candidates(model, asked)

    return {
        k: _once(cache, "rankings", asked, partial(rank, asked)) for k, asked in questions.items()
    }


def _once(cache: AnswerCache, kind: str, asked: Any, ask: Callable[[], Any]) -> Any:
    """What a memory holds under a digest of what is asked; asked now where it holds nothing."""
    digest = hashlib.sha256(json.dumps(asked, ensure_ascii=False).encode()).hexdigest()
    name = f"{kind} {digest}"
    if name not in cache.entries:
        cache.add({name: ask()})
    return cache.entries[name]
