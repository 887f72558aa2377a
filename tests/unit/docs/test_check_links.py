"""The link checker finds what leads nowhere, and nothing else."""

import subprocess
import sys
from pathlib import Path

import pytest
from check_links import links, problems, slug

from support.paths import ROOT

PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "deploy/README.md", "docs")


def found(folder: Path, text: str) -> list[str]:
    """What is wrong with the links of docs/page.md."""
    (folder / "docs").mkdir(exist_ok=True)
    (folder / "docs" / "other.md").write_text(
        "# Some title\n\n## `[table]`: a key\n\n## Twice\n\n## Twice\n"
    )
    (folder / "docs" / "plot.png").write_bytes(b"")
    (folder / "README.md").write_text("# Read me\n")
    page = folder / "docs" / "page.md"
    page.write_text(text)
    return [line.removeprefix(f"{page}:") for line in problems([page], folder)]


@pytest.mark.parametrize(
    "link",
    [
        "[a](other.md)",
        "[a](other.md#some-title)",
        "[a](other.md#table-a-key)",
        "[a](other.md#twice_1)",
        "[a](#here)\n\n## Here",
        "![a plot](plot.png)",
        '[a](other.md "a title")',
        "[a]: other.md",
        "[a](https://example.org/nowhere)",
        "`[a](nowhere.md)`",
        "```\n[a](nowhere.md)\n```",
        "<!-- [a](nowhere.md) -->",
    ],
)
def test_a_link_that_leads_somewhere_is_fine(link: str, tmp_path: Path) -> None:
    assert found(tmp_path, link) == []


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("[a](nowhere.md)", "nowhere.md: no such file"),
        ("[a](other.md#other-title)", "other.md#other-title: no heading #other-title"),
        ("[a](other.md#twice_2)", "other.md#twice_2: no heading #twice_2"),
        ("[a](#there)", "#there: no heading #there"),
        ("![a plot](lost.png)", "lost.png: no such file"),
        ('<img src="lost.png">', "lost.png: no such file"),
        ("[a]: nowhere.md", "nowhere.md: no such file"),
        ("[![a](lost.png)](other.md)", "lost.png: no such file"),
        ("[a](../README.md)", "../README.md: leaves docs/"),
    ],
)
def test_a_broken_link_is_found_with_its_line(link: str, why: str, tmp_path: Path) -> None:
    assert found(tmp_path, f"# Title\n\n{link}\n") == [f"3: {why}"]


def test_a_link_around_an_image_is_seen_too() -> None:
    assert {target for _, target in links("[![a](in.png)](out.md)")} == {"in.png", "out.md"}


def test_a_heading_with_code_and_signs_has_the_anchor_of_the_site() -> None:
    assert slug("`[sources.NAME]` of the kind `http_feed`, and more") == (
        "sourcesname-of-the-kind-http_feed-and-more"
    )


def run(*paths: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts" / "check_links.py"), *paths]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_the_links_of_this_repository_lead_somewhere() -> None:
    done = run(*PAGES, folder=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_broken_link_ends_the_command_with_1(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("[a](nowhere.md)\n")
    done = run("README.md", folder=tmp_path)
    assert (done.returncode, done.stderr) == (1, "README.md:1: nowhere.md: no such file\n")


def test_no_page_at_all_is_an_error(tmp_path: Path) -> None:
    assert run(".", folder=tmp_path).returncode == 1
