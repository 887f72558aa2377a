"""The judge agrees with a reader of answers of two real models, where the old rule does not.

The answers are greedy, of SmolLM2-135M-Instruct and Gemma 3 270M, to prompts of the project. A
reader called each right or wrong before the judge saw it, and marked the doubtful ones.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from factd.editor.scoring.judge import SortedNames, is_right, longer_names, normalised
from support.paths import ROOT

Judge = Callable[[str, Sequence[str], Sequence[str]], bool]


@pytest.fixture(scope="module")
def read() -> list[dict[str, Any]]:
    path = ROOT / "tests" / "data" / "judged-answers.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def disagreements(rows: Sequence[dict[str, Any]], judge: Judge) -> list[str]:
    names = {
        row["language"]: SortedNames(
            name for r in rows if r["language"] == row["language"] for name in r["accepted"]
        )
        for row in rows
    }
    return [
        row["text"]
        for row in rows
        if judge(
            row["text"], row["accepted"], longer_names(row["accepted"], names[row["language"]])
        )
        != row["right"]
    ]


def ends_with_the_label(text: str, accepted: Sequence[str], _: Sequence[str]) -> bool:
    """The old rule: nothing but the end of the sentence follows the label."""
    sentences = [normalised(part) for part in text.replace("\n", ".").split(".")]
    return any(normalised(label) in (sentences[0], normalised(text)) for label in accepted)


def test_the_judge_agrees_with_a_reader(read: list[dict[str, Any]]) -> None:
    assert len(read) >= 140
    assert {row["model"] for row in read} == {"smollm2", "gemma3"}
    found = disagreements(read, lambda t, a, n: is_right(t, a, longer=n))
    assert len(found) <= len(read) * 4 / 200, found


def test_a_label_and_a_stop_are_not_enough_to_be_fair(read: list[dict[str, Any]]) -> None:
    found = disagreements(read, ends_with_the_label)
    assert len(found) > 5 * len(read) * 4 / 200
