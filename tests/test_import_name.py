"""factd installs one import name, and its own code uses no other name for itself."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("daemon", "editor", "store", "reference", "migrations", "bench")


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_at_the_top_is_a_package_of_factd(name: str) -> None:
    module = importlib.import_module(f"factd.{name}")
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().parent == ROOT / name


def imported(path: Path) -> set[str]:
    """The top-level names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def test_no_file_imports_a_folder_by_its_bare_name() -> None:
    files = [path for folder in (*FOLDERS, "tests") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 300
    assert {str(path) for path in files if imported(path) & set(FOLDERS)} == set()
