"""Every figure of README and of the measurements stands in a file of results, and equals it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from factd.bench.evidence.__main__ import CLAIMS, make, stale, state
from factd.bench.evidence.claims import (
    BadClaim,
    Claim,
    ClaimedFigures,
    ResultFile,
    claims_of,
    load_evidence,
)
from factd.bench.evidence.numbers import covered, problems
from support.paths import ROOT

DOCUMENTS = ("README.md", "docs/explanation/measurements.md")
CODE = "0123456789ab"
STATED = {"command": "make x", "date": "2026-11-27", "device": "a machine"}


@pytest.fixture(scope="module")
def evidence() -> ClaimedFigures:
    return load_evidence(CLAIMS)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_figure_of_a_document_stands_in_its_file(
    document: str, evidence: ClaimedFigures
) -> None:
    assert document in evidence.documents
    assert [str(p) for p in problems(document, page(document), evidence.claims)] == []


def with_another_digit(text: str, place: tuple[int, int]) -> str:
    """A text in which one figure has another last digit."""
    start, end = place
    digit = max(n for n in range(start, end) if text[n].isdigit())
    return f"{text[:digit]}{(int(text[digit]) + 1) % 10}{text[digit + 1 :]}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_any_other_figure_in_a_document_is_found(document: str, evidence: ClaimedFigures) -> None:
    text = page(document)
    own = [claim for claim in evidence.claims if claim.document == document]
    digits = [
        (claim, place)
        for claim, places in covered(text, own)
        for place in places
        if re.search(r"\d", text[slice(*place)])
    ]
    assert len(digits) > 50
    for claim, place in digits:
        section, start = section_at(text, place[0])
        changed = with_another_digit(section, (place[0] - start, place[1] - start))
        assert problems(document, changed, [claim]) != problems(document, section, [claim])


def section_at(text: str, place: int) -> tuple[str, int]:
    """The section of a document that holds a place, and where it starts: a page takes minutes."""
    start = max(0, text.rfind("\n## ", 0, place))
    end = text.find("\n## ", place)
    return text[start : end if end >= 0 else len(text)], start


@pytest.mark.parametrize("name", ["frontier.json", "demo.json"])
def test_another_figure_in_a_file_is_found(name: str, tmp_path: Path) -> None:
    for path in CLAIMS.parent.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / CLAIMS.name).write_bytes(CLAIMS.read_bytes())
    changed = re.sub(r"0\.8(\d)", r"0.3\1", (tmp_path / name).read_text(encoding="utf-8"))
    (tmp_path / name).write_text(changed, encoding="utf-8")
    claims = load_evidence(tmp_path / CLAIMS.name).claims
    assert any(problems(document, page(document), claims) for document in DOCUMENTS)


def claimed(text: str, data: Any, **more: str) -> list[Claim]:
    """The claims of one entry about a file with some data."""
    file = ResultFile(name="a.json", command="make a", data=data)
    row = {"document": "README.md", "file": "a.json", "text": text, **more}
    return list(claims_of(row, {"a.json": file}))


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("{/share:.2f} of {/n}", "0.50 of 1200"),
        ("{/share*100:.0f} %", "50 %"),
        ("{/share+-1:+.1f}", "-0.5"),
        ("{/n:,}", "1,200"),
        ("{a.json/deep/a: b:.1f}", "2.0"),
        ("{/deep/s ~1 cycle:.0f} s", "3 s"),
        ("{/list/1}", "8"),
        ("{/nothing:.3f}", "–"),
    ],
)
def test_a_placeholder_prints_the_value_at_its_pointer(text: str, printed: str) -> None:
    deep = {"a: b": 2.0, "s / cycle": 3.0}
    data = {"share": 0.5, "n": 1200, "deep": deep, "list": [7, 8], "nothing": float("nan")}
    [claim] = claimed(text, data)
    assert claim.text == printed


def test_a_claim_with_each_stands_for_every_match() -> None:
    rows = {"rows": [{"by": {"en": 1, "fr": 2}}, {"by": {"en": 3}}]}
    found = claimed("{@2}: {/rows/*/by/*}", rows, each="/rows/*/by/*")
    assert [claim.text for claim in found] == ["en: 1", "fr: 2", "en: 3"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{/lost}", "a.json has nothing at /lost"),
        ("{/list}", "a.json has no single value at /list"),
        ("{b.json/n}", "b.json is not declared"),
        ("{n}", "{n} is no pointer"),
        ("no figure", "no figure"),
    ],
)
def test_a_claim_that_leads_nowhere_says_so(text: str, why: str) -> None:
    with pytest.raises(BadClaim, match=re.escape(why)):
        claimed(text, {"n": 1, "list": [1]})


@pytest.mark.parametrize(
    "text",
    [
        "Measured on 2026-11-21, the world of 1998, on 1 January 1998. In 2022 it was so.",
        "Version 1.2.3 on Python 3.11 and PostgreSQL 15; GPT-J 6B and Llama 3 8B.",
        "Fact b5948bb5231ddb7c (P38) in bfloat16, see #17, section 5, localhost:8000.",
        "Set `v_lr = 50.0` ([editing](editing.md#5-measurements)).",
        "```sh\nfactd edit --weight 1200\n```",
        "1. First.\n2. Second.\n",
        "## 5. Measurements",
    ],
)
def test_what_is_no_measurement_needs_no_claim(text: str) -> None:
    assert problems("README.md", text, []) == []


@pytest.mark.parametrize(
    ("text", "figure"),
    [
        ("It keeps 97 % of the facts.", "97"),
        ("| en | 0.91 |", "0.91"),
        ("```\nedited 154.5 s\n```", "154.5"),
        ("```text\n0.28 s per edit\n```", "0.28"),
        ("It takes 2000 seconds.", "2000"),
        ("A sample of 2000 tokens", "2000"),
        ("Spanish loses -0.31.", "-0.31"),
        ("Checks: 197 a second", "197"),
        ("42 of 42", "42"),
    ],
)
def test_a_measurement_without_a_claim_is_found(text: str, figure: str) -> None:
    found = problems("README.md", text, [])
    assert found and found[0].text.startswith(f"{figure} stands in no claim")


def test_a_claim_covers_its_figures_whatever_the_line_breaks() -> None:
    claims = claimed("kept {/share:.2f} of {/n} facts", {"share": 0.5, "n": 7})
    assert problems("README.md", "It\nkept 0.50\n  of 7 facts.", claims) == []
    [found] = problems("README.md", "It kept 0.50 of 7 facts and 3 more.", claims)
    assert found.text.startswith("3 stands in no claim")


def result(**data: Any) -> ResultFile:
    return ResultFile(name="a.json", command="make a", data=data)


def test_a_file_is_reproduced_only_if_it_names_its_making_and_this_code() -> None:
    assert state(result(**STATED, code=CODE), CODE) == "reproduced"
    assert state(result(**STATED, code="other"), CODE) == "of earlier code"
    assert state(result(results=[]), CODE) == "not reproduced"
    assert state(ResultFile(name="a.json", command="", data=[1]), CODE) == "not reproduced"
    assert state(ResultFile(name="a.json", command="", data=None), CODE) == "missing"


def declare(folder: Path, command: str) -> Path:
    """A file of claims with one file of results."""
    path = folder / "claims.toml"
    path.write_text(f"documents = []\nclaims = []\n[files.'a.json']\ncommand = '{command}'\n")
    return path


def test_missing_and_stale_files_are_made_and_stamped(tmp_path: Path) -> None:
    command = f'echo "[1]" > {tmp_path}/a.json'
    claims = declare(tmp_path, command)
    todo = stale(claims, CODE)
    assert todo == {command: [tmp_path / "a.json"]}
    assert make(todo, CODE) == []
    made = json.loads((tmp_path / "a.json").read_text())
    assert (made["results"], made["command"], made["code"]) == ([1], command, CODE)
    assert made["date"] and made["device"]
    assert stale(claims, CODE) == {}
    assert stale(claims, "other") == todo


def test_a_command_that_fails_leaves_the_figures_as_they_were(tmp_path: Path) -> None:
    command = f"echo > {tmp_path}/a.json; false"
    (tmp_path / "a.json").write_text("[2]")
    todo = stale(declare(tmp_path, command), CODE)
    assert make(todo, CODE) == [command]
    assert (tmp_path / "a.json").read_text() == "[2]"
