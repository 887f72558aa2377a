"""Every command in README and documentation exists with its options; the runbook is complete."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reference_pages.live import command_line
from typer.core import TyperGroup

from support.paths import ROOT

RUNBOOK = ROOT / "docs" / "how-to" / "operate" / "runbook.md"
PAGES = [ROOT / "README.md", ROOT / "deploy" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = [
    ROOT / "docs" / "reference" / f"{name}.md" for name in ("command-line", "configuration")
]
MUST_SHOW_COMMANDS = [
    RUNBOOK,
    ROOT / "README.md",
    *sorted((ROOT / "docs" / "how-to").rglob("*.md")),
]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
COMMAND = command_line()
FACTD = re.compile(r"(?:^|&& |-- |-ec |=|\$ )\s*(?:/opt/factd/bin/)?factd( [^|;#]+)")


def commands(text: str) -> Iterator[list[str]]:
    """The words behind `factd` in code blocks, inline code and units, where `factd` is run."""
    fences = re.findall(r"(?ms)^```(\w*)\n(.*?)^```", text)
    blocks = [block for language, block in fences if language in ("sh", "text", "")]
    units = re.findall(r"(?m)^(?:ExecStart(?:Pre)?=| +/opt).*$", text)
    inline = re.findall(r"`(factd [^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    for line in [*"\n".join(blocks).split("\n"), *units, *inline]:
        for part in re.split(r"(?<=&&)", line):
            for found in FACTD.findall(part.removesuffix("&&").rstrip()):
                yield re.sub(r"[\"\\']|\$\(date [^)]*\)", " ", found).split()


def problem(words: list[str]) -> str:
    """What is wrong with a command; empty where it exists."""
    command: Any = COMMAND
    rest = list(words)
    while rest:
        if isinstance(command, TyperGroup):
            options = {o for p in command.params for o in p.opts + p.secondary_opts}
            if rest[0] == "--help":
                return ""
            if rest[0] in options:
                flag = next(p for p in command.params if rest[0] in p.opts)
                rest = rest[1 if getattr(flag, "is_flag", False) else 2 :]
                continue
            found = command.commands.get(rest[0])
            if found is None and "make" in command.commands:
                found, rest = command.commands["make"], ["make", *rest]
            if found is None:
                return f"no command {rest[0]!r} in {words}"
            command, rest = found, rest[1:]
            continue
        options = {o for p in command.params for o in p.opts + p.secondary_opts} | {"--help"}
        wrong = [word for word in rest if word.startswith("-") and word not in options]
        return f"no option {wrong} in {words}" if wrong else ""
    return ""


def name(path: Path) -> str:
    """A page by its path in the repository."""
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for p in (*PAGES, *UNITS) if p not in GENERATED], ids=name)
def test_every_command_exists_with_its_options(path: Path) -> None:
    found = list(commands(path.read_text()))
    assert found or path not in MUST_SHOW_COMMANDS
    assert [text for text in map(problem, found) if text] == []


def test_a_wrong_command_would_be_found() -> None:
    text = "```text\n$ factd frobnicate 3\n```\nthen `factd statsu`\n```sh\nfactd worst\n```\n"
    assert [words[0] for words in commands(text)] == ["frobnicate", "worst", "statsu"]
    assert all(map(problem, commands(text)))
    assert problem(["releases", "lst"]) != ""
    assert problem(["rollback", "--too", "3"]) != ""
    assert problem(["--config", "x", "backup", "y", "--with-workspace"]) == ""


def test_every_section_of_the_runbook_says_what_is_needed_at_night() -> None:
    text = RUNBOOK.read_text()
    for section in re.split(r"(?m)^## ", text)[1:]:
        title = section.split("\n")[0]
        for part in ("**Means**", "**Users notice**", "**Look**", "**Do**", "**Over when**"):
            assert part in section, (title, part)
