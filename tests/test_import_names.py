"""`daemon`, `editor` and `store` are common words: each import name must belong to this project."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["daemon", "editor", "store", "reference", "migrations", "bench"])
def test_an_import_name_belongs_to_this_project(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().parent == ROOT / name


def test_no_test_folder_shadows_a_package() -> None:
    packages = {"daemon", "editor", "store", "reference", "migrations", "bench"}
    folders = {path.name for path in (ROOT / "tests").rglob("*") if path.is_dir()}
    assert not packages & {
        name for name in folders if (ROOT / "tests" / name / "__init__.py").exists()
    }
