"""Every method on every family: the results are those in the documentation's table."""

from pathlib import Path

import pytest

from factd.bench.quality import families
from factd.editor import plugins
from factd.reference import tiny
from support.shared_artefacts import SharedArtefacts

FAMILIES = plugins.names("factd.editor.families")


def table() -> list[list[str]]:
    text = families.PAGE.read_text(encoding="utf-8")
    part = text[text.index(families.MARKS[0]) : text.index(families.MARKS[1])]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("|")
    ]


def test_the_readme_names_every_family_and_method() -> None:
    head, _, *rows = table()
    assert head == ["family", *plugins.names("factd.editor.methods")]
    assert [row[0] for row in rows] == list(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_readme_says_what_the_methods_do(
    family: str, kept: SharedArtefacts, tmp_path: Path
) -> None:
    base = tiny.make(family, tmp_path / "base")
    kept.moments(tmp_path / "workspace", base, tokens=2000, layers=tiny.VALUE_SETTINGS["layers"])
    _, _, *rows = table()
    (said,) = [cells for name, *cells in rows if name == family]
    assert list(families.row(base, tmp_path).values()) == said
    assert not any("no effect" in cell for cell in said)
