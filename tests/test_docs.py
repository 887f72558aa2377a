"""The documents that are made from the code are made from this code."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def cases(path: Path) -> list[tuple[str, str, str]]:
    """(source, case, test) of every `case` decorator of a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        for mark in getattr(node, "decorator_list", []):
            if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith("case"):
                source, what, _ = (ast.literal_eval(argument) for argument in mark.args)
                found.append((source, what, str(getattr(node, "name", ""))))
    return found


def test_every_case_of_a_source_stands_in_the_table_with_its_result() -> None:
    table = (ROOT / "docs" / "reference" / "source-cases.md").read_text().splitlines()
    rows = {tuple(cell.strip() for cell in row.split("|")[1:-1]) for row in table if row[:1] == "|"}
    there = {(row[0], row[1], row[3]): row[4] for row in rows if len(row) == 5}
    found = [case for path in (ROOT / "tests").rglob("test_*.py") for case in cases(path)]
    assert len(found) > 50
    assert [case for case in found if there.get(case) != "passed"] == [], "run `make source-cases`"
