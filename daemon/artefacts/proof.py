"""What a server must say if it serves a release: questions, asked of the checked candidate itself when it was made.

Each is asked of the candidate, of the release that was live then, and of the base, with the weights as they are published; only
what the model is certain of is kept (editor/scoring/margins.py), so that a server that rounds otherwise says the same. Questions that
tell the candidate from the live release come first. The file lies in the version, so that nobody needs a model to compare.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import PublishFailed
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.servers import Completion
from factd.store import queries

FILE = "proof.json"
TOKENS = 8  # of an answer


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
