"""Every method on every family, and the README's table that says so."""

from bench import families
from editor import plugins


def table() -> list[list[str]]:
    text = families.README.read_text(encoding="utf-8")
    part = text[text.index(families.MARKS[0]) : text.index(families.MARKS[1])]
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("|")
    ]


def test_the_readme_names_every_family_and_method() -> None:
    head, _, *rows = table()
    assert head == ["family", *plugins.names("editor.methods")]
    assert [row[0] for row in rows] == list(plugins.names("editor.families"))


def test_the_readme_says_what_the_methods_do() -> None:
    _, _, *rows = table()
    assert [list(row.values()) for row in families.rows()] == rows
    assert not any("no effect" in cell for row in rows for cell in row)
