"""An exam: everything that a model is asked, a model's results, and a cache of its answers."""

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
from factd.editor.models.workers import in_order, run_task
from factd.editor.scoring.drift import TextScores, text_scores
from factd.editor.scoring.judge import is_right
from factd.editor.scoring.rankings import Question, rank_candidates
from factd.editor.scoring.score import Answer, Probe, answers

MAX_CACHED_ANSWERS = 200_000  # of one model


@dataclass(frozen=True, kw_only=True)
class Exam:
    """Everything that a model is asked."""

    probes: tuple[Probe, ...] = ()
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # held-out, by language
    # ranking questions by language; every language has the same ones in the same order
    questions: Mapping[str, tuple[Question, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.probes)

    def as_json(self) -> dict[str, Any]:
        """The exam as JSON values."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]  # a dict stays one

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Exam":
        """The exam from what `as_json` gave."""
        lists = ("accepted", "written_in", "foreign", "longer")
        rows: list[dict[str, Any]] = [
            {k: tuple(v) if k in lists else v for k, v in p.items()} for p in data["probes"]
        ]
        return cls(
            probes=tuple(Probe(**row) for row in rows),
            texts={k: tuple(v) for k, v in data["texts"].items()},
            questions={k: tuple((p, c) for p, c in v) for k, v in data["questions"].items()},
        )

    def counts(self) -> dict[str, int]:
        """The number of questions by kind and language, such as "edit en"."""
        counts = Counter(f"{p.kind} {p.language}" for p in self.probes)
        counts |= Counter({f"text {k}": len(v) for k, v in self.texts.items()})
        counts |= Counter({f"ranked {k}": len(v) for k, v in self.questions.items()})
        return dict(sorted(counts.items()))


@dataclass(frozen=True, kw_only=True)
class ExamResults:
    """One model's results in an exam."""

    answers: tuple[Answer, ...]  # in the order of the exam's probes
    texts: Mapping[str, TextScores]  # by language
    rankings: Mapping[str, Rankings]  # by language


@dataclass
class AnswerCache:
    """The earlier answers of one model, by question. Another model needs a cache of its own."""

    path: Path | None = None  # a JSON file; None: the cache lives as long as this process
    entries: dict[str, Any] = field(default_factory=dict)
    changed: bool = False

    @classmethod
    def load(cls, path: Path) -> "AnswerCache":
        """The cache of a file; empty if there is no file.

        Raises: DamagedArtefact: the file holds no JSON object.
        """
        if not path.exists():
            return cls(path)
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DamagedArtefact(path, f"it cannot be read ({error}); delete it") from error
        if not isinstance(held, dict):
            raise DamagedArtefact(path, "it is not a cache of answers; delete it")
        return cls(path, held)

    def save(self) -> None:
        """Write the cache to its file if something was added.

        The latest MAX_CACHED_ANSWERS are kept.
        """
        if self.path is None or not self.changed:
            return
        self.entries = dict(list(self.entries.items())[-MAX_CACHED_ANSWERS:])
        write_file(self.path, json.dumps(self.entries, ensure_ascii=False).encode())
        self.changed = False

    def add(self, entries: Mapping[str, Any]) -> None:
        """Add answers."""
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
    """The results of the model with a delta (None: the base) in an exam.

    cache: this model's earlier answers. A question in it is not asked again; new answers are saved.

    Raises: WrongModel: the delta was computed for other weights.
    """
    cache = cache or AnswerCache()
    results = ExamResults(
        answers=_answered(model, exam.probes, delta, terminator, cache),
        texts=_texts_read(model, exam.texts, delta, cache),
        rankings=_ranked(model, exam.questions, delta, cache),
    )
    cache.save()
    return results


def evidence_of(
    exam: Exam,
    base: ExamResults,
    now: ExamResults,
    live: ExamResults | None = None,
    diagnostics: Mapping[str, float] | None = None,
) -> Evidence:
    """What the checks measure, from the results of the models in the same exam.

    now: of the edited model. diagnostics: of its delta.
    """
    return Evidence(
        probes=exam.probes,
        before=base.answers,
        after=now.answers,
        live=live.answers if live else None,
        texts={
            k: TextEvidence(after=scores, live=live.texts[k] if live else None)
            for k, scores in now.texts.items()
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
    """The answers of the model with a delta (None: the base).

    Its workers share the probes, if it has any.
    """
    results = run_task(model, answers_of_probes, probes, delta=delta, terminator=terminator)
    return tuple(in_order(results, len(probes)))


def answers_of_probes(
    model: EditableModel, probes: Sequence[Probe], *, delta: Delta | None, terminator: str
) -> Iterator[tuple[int, Answer]]:
    """The part of `answers_with` that one worker does: (index of the probe, answer)."""
    with applied(model, delta) if delta else nullcontext():
        yield from enumerate(answers(model, probes, terminator=terminator))


def _answered(
    model: EditableModel,
    probes: Sequence[Probe],
    delta: Delta | None,
    terminator: str,
    cache: AnswerCache,
) -> tuple[Answer, ...]:
    """The answers to probes, from the cache or else from the model."""

    def key(probe: Probe) -> str:
        return "\t".join((probe.prompt, probe.target + terminator, probe.contrast or ""))

    new = list({key(p): p for p in probes if key(p) not in cache.entries}.values())
    given = answers_with(model, new, delta, terminator)
    cache.add({key(p): _to_entry(answer) for p, answer in zip(new, given, strict=True)})
    cached = [_from_entry(cache.entries[key(p)]) for p in probes]
    return tuple(
        replace(a, right=is_right(a.text, p.accepted, longer=p.longer))
        for p, a in zip(probes, cached, strict=True)
    )


def _to_entry(answer: Answer) -> list[Any]:
    """An answer as the cache stores it: without `right`, which depends on the probe's labels."""
    numbers = [None if isnan(n) else n for n in (answer.target_nll, answer.contrast_nll)]
    return [*numbers, answer.accurate, answer.text]


def _from_entry(row: Sequence[Any]) -> Answer:
    """An answer from the cache; `right` is not yet set."""
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
    """Scores of texts by language, from the cache or else from the model."""

    def score(language: str) -> Any:
        return asdict(text_scores(model, delta, {language: texts[language]})[language])

    rows = {k: _once(cache, "texts", own, partial(score, k)) for k, own in texts.items()}
    return {k: TextScores(**{n: tuple(v) for n, v in row.items()}) for k, row in rows.items()}


def _ranked(
    model: EditableModel,
    questions: Mapping[str, Sequence[Question]],
    delta: Delta | None,
    cache: AnswerCache,
) -> dict[str, Rankings]:
    """Rankings by language, from the cache or else from the model."""

    def rank(asked: Sequence[Question]) -> Any:
        with applied(model, delta) if delta else nullcontext():
            return rank_candidates(model, asked)

    return {
        k: _once(cache, "rankings", asked, partial(rank, asked)) for k, asked in questions.items()
    }


def _once(cache: AnswerCache, kind: str, asked: Any, ask: Callable[[], Any]) -> Any:
    """The cached result for what is asked, by its digest; if there is none, `ask` is called."""
    digest = hashlib.sha256(json.dumps(asked, ensure_ascii=False).encode()).hexdigest()
    name = f"{kind} {digest}"
    if name not in cache.entries:
        cache.add({name: ask()})
    return cache.entries[name]
