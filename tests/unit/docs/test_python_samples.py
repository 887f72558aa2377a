"""Every Python sample of the documentation compiles, and what it imports exists."""

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.paths import ROOT

PAGES = ("README.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").rglob("*.md")))
FENCE = re.compile(r"(?ms)^```python\n(.*?)^```$")


def samples(text: str) -> list[str]:
    """The Python blocks of a page."""
    return FENCE.findall(text)


def imported(code: str) -> list[tuple[str, str | None]]:
    """(module, name) of everything that code imports; the name is None for a whole module.

    Raises: SyntaxError: the code does not compile.
    """
    compile(code, "sample", "exec")
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found += [(str(node.module), alias.name) for alias in node.names]
    return found


def missing(code: str) -> list[str]:
    """The imports of a sample that lead nowhere."""
    lost = []
    for module, name in imported(code):
        try:
            there = importlib.import_module(module)
        except ImportError:
            lost.append(module)
            continue
        if name is not None and not hasattr(there, name):
            lost.append(f"{module}.{name}")
    return lost


SAMPLES = [
    pytest.param(code, id=f"{page}-{number}")
    for page in PAGES
    for number, code in enumerate(samples((ROOT / page).read_text(encoding="utf-8")), start=1)
]


@pytest.mark.parametrize("code", SAMPLES)
def test_a_sample_of_the_documentation_compiles_and_its_imports_exist(code: str) -> None:
    assert missing(code) == []


def test_there_are_samples_in_readme_and_in_docs() -> None:
    pages = {str(sample.id).rsplit("-", 1)[0] for sample in SAMPLES}
    assert "README.md" in pages
    assert any(page.startswith("docs/") for page in pages)


@pytest.mark.parametrize(
    ("code", "lost"),
    [
        ("from factd.editor.scoring.score import greedy", "factd.editor.scoring.score.greedy"),
        ("import factd.editor.nowhere", "factd.editor.nowhere"),
    ],
)
def test_an_import_that_leads_nowhere_is_found(code: str, lost: str) -> None:
    assert missing(code) == [lost]


def test_a_sample_that_is_no_python_is_found() -> None:
    with pytest.raises(SyntaxError):
        missing("print(")


@pytest.mark.slow
def test_the_sample_of_readme_edits_the_reference_model(tmp_path: Path) -> None:
    [code] = samples((ROOT / "README.md").read_text(encoding="utf-8"))
    (tmp_path / "reference").symlink_to(ROOT / "reference")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['euro.']"
    assert (tmp_path / "run" / "edited" / "model.safetensors").is_file()
