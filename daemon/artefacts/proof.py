"""Questions whose answers show that a server serves a release, and the comparison with its answers.

daemon/editing/proof_questions.py asks the checked candidate these questions when it is made. The
proof is a file in the version, so that comparing a server's answers needs no model.
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
class CertainAnswer:
    """The beginning of a model's answer, as far as the model is certain of it."""

    text: str  # empty: the model is not certain of any token
    logprobs: tuple[float, ...]  # natural logarithms, one for each token

    def distance(self, other: "CertainAnswer") -> float:
        """The mean difference in nats between the logprobs of the tokens that both answers have."""
        pairs = list(zip(self.logprobs, other.logprobs, strict=False))
        return sum(abs(one - two) for one, two in pairs) / len(pairs) if pairs else 0.0


@dataclass(frozen=True, kw_only=True)
class Question:
    """A prompt, and how three models answer it."""

    prompt: str
    language: str
    answer: CertainAnswer  # of the release
    answer_before: CertainAnswer  # of the release that was live when this one was made
    answer_of_base: CertainAnswer
    is_telling: bool  # the release before would answer otherwise


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The questions that show whether a server serves a release."""

    before: int  # the release that was live when this one was made
    base: int  # the base that the release was made on; 0: the original model
    questions: tuple[Question, ...]


@dataclass(frozen=True, kw_only=True)
class Match:
    """How a server's answers compare with the answers of a release."""

    asked: int  # questions with an expected answer
    wrong: tuple[str, ...]  # a sentence for each wrong answer

    @property
    def fits(self) -> bool:
        """At least one question was asked, and every answer is the one of our own forward pass."""
        return self.asked > 0 and not self.wrong


def expected_answers(
    number: int, own: Proof | None, other: Proof | None
) -> list[tuple[Question, CertainAnswer]]:
    """The questions for a release, each with the answer that is expected.

    own: the release's proof. other: the proof of another release, which also holds the answers of
    the release that was live when that one was made, and of the base that it was made on.
    """
    if own is not None and number != 0:
        return [(q, q.answer) for q in own.questions]
    if other is None:
        return []
    if number == 0 and other.base == 0:
        return [(q, q.answer_of_base) for q in other.questions if q.answer_of_base.text]
    if other.before == number:
        return [(q, q.answer_before) for q in other.questions if q.answer_before.text]
    return []


def compare(
    expected: Sequence[tuple[Question, CertainAnswer]],
    answers: Sequence[Completion],
    *,
    tolerance: float,
) -> Match:
    """A server's answers beside the expected ones.

    tolerance: the largest mean difference of the logprobs of an answer's tokens, in nats.
    """
    rows = [(q, right, given) for (q, right), given in zip(expected, answers, strict=True)]
    wrong = [why for row in rows if (why := _difference(*row, tolerance=tolerance))]
    return Match(asked=len(rows), wrong=tuple(wrong))


def _difference(
    question: Question, right: CertainAnswer, given: Completion, *, tolerance: float
) -> str:
    """How an answer differs from the expected one. Empty if it does not."""
    text, prompt = given.text.strip(), question.prompt
    if not text.startswith(right.text.strip()):
        return f"it answers {prompt!r} with {text[:60]!r}, expected {right.text.strip()!r}"
    distance = right.distance(CertainAnswer(text="", logprobs=given.logprobs))
    if not distance <= tolerance:
        return f"it answers {prompt!r} as expected, but its logprobs differ by {distance:.2f} nats"
    return ""


def proof_folder(ledger: Ledger, paths: Paths, number: int) -> Path | None:
    """The folder of the candidate whose proof is the one of a release. None: there is no candidate.

    A release that only puts a new base in effect has no candidate of its own. Its proof is that of
    the release that was baked into the base.
    """
    with ledger.read() as session:
        release = queries.releases.release(session, number)
        if release.candidate_id is None and release.base:
            baked = queries.bases.base(session, release.base).release
            release = queries.releases.release(session, baked)
    candidate = release.candidate_id
    return paths.candidate(candidate) if candidate is not None else None


def proof_of(ledger: Ledger, paths: Paths, versions: Versions, number: int) -> Proof | None:
    """The proof of a release, from its version or else from its candidate's folder.

    None: there is none, so nobody knows what a server must answer. Raises: PublishFailed: the file
    cannot be read.
    """
    proof = read(versions.folder(number))
    folder = proof_folder(ledger, paths, number) if proof is None else None
    return read(folder) if folder is not None else proof


def copy_proof(candidate: Path | None, version: Path) -> None:
    """Copy a candidate's proof into a version. Candidates of an early factd have no proof."""
    if candidate is not None and (candidate / FILE).is_file():
        shutil.copyfile(candidate / FILE, version / FILE)


def dumped(proof: Proof) -> bytes:
    """A proof as the bytes of its file."""
    rows = [
        {
            "prompt": q.prompt,
            "language": q.language,
            "tells": q.is_telling,
            "said": _answer_json(q.answer),
            "before": _answer_json(q.answer_before),
            "base": _answer_json(q.answer_of_base),
        }
        for q in proof.questions
    ]
    data = {"before": proof.before, "base": proof.base, "tokens": TOKENS, "questions": rows}
    return (json.dumps(data, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()


def _answer_json(answer: CertainAnswer) -> dict[str, Any]:
    return {"text": answer.text, "logprobs": [round(x, 4) for x in answer.logprobs]}


def read(folder: Path) -> Proof | None:
    """The proof in a version's folder.

    None: there is none. Raises: PublishFailed: it is damaged.
    """
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
            f"{path} cannot be read ({error}); "
            "write the version again with `factd releases write`, or restore it from a backup"
        ) from error


def _question(row: dict[str, Any]) -> Question:
    def answer(name: str) -> CertainAnswer:
        return CertainAnswer(text=row[name]["text"], logprobs=tuple(row[name]["logprobs"]))

    return Question(
        prompt=row["prompt"],
        language=row["language"],
        answer=answer("said"),
        answer_before=answer("before"),
        answer_of_base=answer("base"),
        is_telling=bool(row["tells"]),
    )
