"""Runbook, operations and upgrade notes: every command in them exists with its options, every link leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from factd.daemon.cli.main import cli
from support.paths import ROOT

PAGES = [ROOT / "docs" / f"{name}.md" for name in ("runbook", "operations", "upgrade")]
PAGES += [ROOT / "deploy" / "README.md"]
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
COMMAND = typer.main.get_command(cli)
FACTD = re.compile(r"(?:^|&& |-- |-ec |=)\s*(?:/opt/factd/bin/)?factd( [^|;#]+)")


def commands(text: str) -> Iterator[list[str]]:
    """The words behind `factd` in code blocks, in inline code and in units, where it is what is run."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
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
        options = {o for p in command.params for o in p.opts + p.secondary_opts}
        wrong = [word for word in rest if word.startswith("-") and word not in options]
        return f"no option {wrong} in {words}" if wrong else ""
    return ""


@pytest.mark.parametrize("path", [*PAGES, *UNITS], ids=lambda path: path.name)
def test_every_command_exists_with_its_options(path: Path) -> None:
    found = list(commands(path.read_text()))
    assert found or path.name == "README.md"
    assert [text for text in map(problem, found) if text] == []


def test_a_wrong_command_would_be_found() -> None:
    assert problem(["releases", "lst"]) != ""
    assert problem(["rollback", "--too", "3"]) != ""
    assert problem(["--config", "x", "backup", "y", "--with-workspace"]) == ""


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"(?m)^#+ (.+)$", page.read_text())
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_section_of_the_runbook_says_what_is_needed_at_night() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    for section in re.split(r"(?m)^## ", text)[1:]:
        title = section.split("\n")[0]
        for part in ("**Means**", "**Users notice**", "**Look**", "**Do**", "**Over when**"):
            assert part in section, (title, part)
