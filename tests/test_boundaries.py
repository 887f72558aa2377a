"""Each package, imported in a fresh process, brings in nothing it must not know."""

import subprocess
import sys

import pytest

TENSORS = {"torch", "transformers", "safetensors"}
FORBIDDEN = {
    "factd.editor": {
        "factd.store",
        "factd.daemon",
        "factd.reference",
        "sqlalchemy",
        "httpx",
        "prometheus_client",
    },
    "factd.store": {"factd.editor", "factd.daemon", "factd.reference"} | TENSORS,
    "factd.daemon": TENSORS,
}
WALK = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(found.name)
names = {".".join(name.split(".")[: 2 if name.startswith("factd.") else 1]) for name in sys.modules}
print("\\n".join(sorted(names)))
"""


def loaded(package: str) -> set[str]:
    """The modules in memory after every module of a package was imported.

    Modules of other projects appear by their top-level names.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WALK, package],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("package", sorted(FORBIDDEN))
def test_a_package_brings_in_nothing_it_must_not_know(package: str) -> None:
    found = loaded(package)
    assert package in found
    assert not found & FORBIDDEN[package]


def test_the_walk_would_see_torch_if_it_were_there() -> None:
    assert "torch" in loaded("factd.editor")
