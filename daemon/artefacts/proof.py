"""What a server must say if it serves a release: questions, asked of the checked candidate itself when it was made.

Each is asked of the candidate, of the release that was live then, and of the base, with the weights as they are published; only
what the model is certain of is kept (editor/scoring/margins.py), so that a server that rounds otherwise says the same. Questions that
tell the candidate from the live release come first. The file lies in the version, so that nobody needs a model to compare.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import PublishFailed
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.prompts import probes
from factd.daemon.prompts.edits import PromptSettings, writable
from factd.daemon.servers import Completion
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.model.facts import Fact

if TYPE_CHECKING:
    from factd.daemon.editing.candidates import Proposal
    from factd.editor.deltas.delta import Delta
    from factd.editor.scoring.margins import Continuation

FILE = "proof.json"
TOKENS = 8  # of an answer
POOL = 3  # prompts of each sort that are tried for each question that is kept


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model is certain to say."""

    text: str  # empty: it is not certain of anything
    logprobs: tuple[float, ...]  # of its tokens, natural

    def distance(self, other: "Said") -> float:
        """The mean difference of the logprobs of the tokens that both are certain of, nats."""
        pairs = list(zip(self.logprobs, other.logprobs, strict=False))
        return sum(abs(one - two) for one, two in pairs) / len(pairs) if pairs else 0.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt, and what the three models say to it."""

    prompt: str
    language: str
    said: Said  # by the release
    before: Said  # by the release that was live when it was made
    base: Said
    tells: bool  # the release before would say something else


@dataclass(frozen=True, kw_only=True)
class Proof:
    """How to tell that a server serves a release."""

    before: int  # the release that was live when it was made
    base: int  # the base that it was made on; 0: the original model
    questions: tuple[Question, ...]


@dataclass(frozen=True, kw_only=True)
class Match:
    """How a server's answers compare with what a release says."""

    asked: int  # questions that it had to be right about
    wrong: tuple[str, ...]  # sentences

    @property
    def fits(self) -> bool:
        """Every answer is what our own forward pass says, and there was at least one."""
        return self.asked > 0 and not self.wrong


def record(
    ledger: Ledger,
    paths: Paths,
    workbench: Workbench,
    prompts: PromptSettings,
    fleet: Fleet,
    case: "Proposal",
    delta: "Delta",
    folder: Path,
) -> Proof:
    """Ask an accepted candidate, the live release and the base, and keep what tells them apart beside the delta."""
    from factd.editor.deltas.delta import applied, load_delta
    from factd.editor.files.folders import write_file
    from factd.editor.scoring.margins import continuations

    pool = _pool(ledger, prompts, fleet, case)
    model, live = workbench.model(), case.live

    def said() -> "tuple[Continuation, ...]":
        return continuations(model, [prompt for prompt, _ in pool], tokens=TOKENS)

    base = before = said()
    with applied(model, delta):
        now = said()
    if live.candidate_id is not None:
        with applied(model, load_delta(paths.candidate(live.candidate_id) / "delta")):
            before = said()
    asked = [_asked(*rows) for rows in zip(pool, now, before, base, strict=True) if rows[1].text]
    best = best_of(asked, fleet.table.probes)
    found = Proof(before=live.number, base=live.base, questions=best)
    write_file(folder / FILE, dumped(found))
    return found


def _asked(
    prompt: tuple[str, str], now: "Continuation", before: "Continuation", base: "Continuation"
) -> Question:
    said = [Said(text=one.text, logprobs=one.logprobs) for one in (now, before, base)]
    tells = not before.greedy.strip().startswith(now.text.strip())
    return Question(
        prompt=prompt[0],
        language=prompt[1],
        said=said[0],
        before=said[1],
        base=said[2],
        tells=tells,
    )


def best_of(asked: Sequence[Question], count: int) -> tuple[Question, ...]:
    """The questions that tell most, of every language the best first: those that tell before any that do not."""
    ranked: dict[str, int] = Counter()
    order = []
    for question in sorted(asked, key=_worth, reverse=True):
        order.append((not question.tells, ranked[question.language], question))
        ranked[question.language] += 1
    return tuple(one[2] for one in sorted(order, key=lambda one: one[:2])[:count])


def _worth(question: Question) -> tuple[bool, bool, float]:
    """Those that tell first, among them those to which the release before is certain of its own; then the farthest apart."""
    said, before = question.said, question.before
    return question.tells, bool(before.text), said.distance(before)


def _pool(
    ledger: Ledger, prompts: PromptSettings, fleet: Fleet, case: "Proposal"
) -> list[tuple[str, str]]:
    """Prompts and their languages: about facts that come or go, about those that stay, about what the base knows."""
    most = POOL * fleet.table.probes
    gone = set(case.live.fact_ids) - set(case.ids)
    with ledger.read() as session:
        left = queries.facts.facts_by_id(session, sorted(gone))
    changed = _prompts(prompts, case, (*case.ground.new, *left))
    stays = _prompts(prompts, case, case.ground.earlier)
    known = [(p.prompt, p.language) for p in case.exam.probes if p.kind == "known"]
    sorts = (changed, stays, known)
    found = [one for sort in sorts for one in chosen_prompts(sort, most)]
    return list(dict.fromkeys(found))


def _prompts(
    prompts: PromptSettings, case: "Proposal", facts: Iterable[Fact]
) -> list[tuple[str, str]]:
    plan = prompts
    return [
        (probe.prompt, language)
        for fact in facts
        for language in plan.served
        if writable(fact, plan.catalogue[fact.relation], (language,))
        for probe in probes.said_now(fact, case.ground, language, plan)
        if probe.kind == "edit"
    ]


def chosen_prompts(found: Sequence[tuple[str, str]], most: int) -> list[tuple[str, str]]:
    """At most so many, spread over all of them."""
    step = max(1, -(-len(found) // most)) if most else 1
    return list(found[::step])[:most]


def expected(number: int, own: Proof | None, other: Proof | None) -> list[tuple[Question, Said]]:
    """What a release says: by its own proof, or by that of another which was made while it was live or from it as the base."""
    if own is not None and number != 0:
        return [(q, q.said) for q in own.questions]
    if other is None:
        return []
    if number == 0 and other.base == 0:
        return [(q, q.base) for q in other.questions if q.base.text]
    return (
        [(q, q.before) for q in other.questions if q.before.text] if other.before == number else []
    )


def compare(
    wanted: Sequence[tuple[Question, Said]], got: Sequence[Completion], *, tolerance: float
) -> Match:
    """Answers beside what they must be. tolerance: of the mean logprob of an answer's tokens, nats."""
    pairs = [(q, said, answer) for (q, said), answer in zip(wanted, got, strict=True)]
    wrong = [why for one in pairs if (why := _wrong(*one, tolerance=tolerance))]
    return Match(asked=len(pairs), wrong=tuple(wrong))


def _wrong(question: Question, said: Said, answer: Completion, *, tolerance: float) -> str:
    """Why an answer is not what the release says; empty where it is."""
    if not answer.text.strip().startswith(said.text.strip()):
        return f"to {question.prompt!r} it says {answer.text.strip()[:60]!r} and not {said.text.strip()!r}"
    off = said.distance(Said(text="", logprobs=answer.logprobs))
    if not off <= tolerance:
        return f"to {question.prompt!r} it says the same with other probabilities (off by {off:.2f} nats)"
    return ""


def made_for(ledger: Ledger, paths: Paths, number: int) -> Path | None:
    """The folder of the candidate that was asked what a release says; of a base's own release, that which was baked."""
    with ledger.read() as session:
        release = queries.releases.release(session, number)
        if release.candidate_id is None and release.base:
            release = queries.releases.release(
                session, queries.bases.base(session, release.base).release
            )
    made = release.candidate_id
    return paths.candidate(made) if made is not None else None


def proof_of(ledger: Ledger, paths: Paths, versions: Versions, number: int) -> Proof | None:
    """What a server that serves a release must say; None: nobody knows. Raises: PublishFailed: its file cannot be read."""
    found = read(versions.folder(number))
    made = made_for(ledger, paths, number) if found is None else None
    return read(made) if made is not None else found


def place(made: Path | None, folder: Path) -> None:
    """A candidate's proof into a version; one that was made before there were proofs has none."""
    if made is not None and (made / FILE).is_file():
        shutil.copyfile(made / FILE, folder / FILE)


def dumped(proof: Proof) -> bytes:
    """As a file."""
    rows = [
        {
            "prompt": q.prompt,
            "language": q.language,
            "tells": q.tells,
            **{name: _json(getattr(q, name)) for name in ("said", "before", "base")},
        }
        for q in proof.questions
    ]
    data = {"before": proof.before, "base": proof.base, "tokens": TOKENS, "questions": rows}
    return (json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _json(said: Said) -> dict[str, Any]:
    return {"text": said.text, "logprobs": [round(x, 4) for x in said.logprobs]}


def read(folder: Path) -> Proof | None:
    """The proof in a version's folder; None: it has none. Raises: PublishFailed: it cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Proof(
            before=int(data["before"]),
            base=int(data["base"]),
            questions=tuple(map(_question, data["questions"])),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PublishFailed(
            f"{path} cannot be read ({error}); write the version again with `factd releases write`, or restore it from a backup"
        ) from error


def _question(row: dict[str, Any]) -> Question:
    def said(name: str) -> Said:
        return Said(text=row[name]["text"], logprobs=tuple(row[name]["logprobs"]))

    return Question(
        prompt=row["prompt"],
        language=row["language"],
        said=said("said"),
        before=said("before"),
        base=said("base"),
        tells=bool(row["tells"]),
    )
