"""Accessibility checks of a page with axe-core.

axe-core is fetched from npm once, checked against its published hash, and kept in the user's cache.
"""

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome

VERSION = "4.14.1"
# sha512, as npm publishes it
INTEGRITY = (
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
CACHE = Path.home() / ".cache" / "factd" / f"axe-core-{VERSION}.min.js"
SECONDS = 60
RUN = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  found => done(found.violations),
  error => done([{id: String(error), impact: "critical", nodes: []}]));
"""


def source() -> str:
    """The script of axe-core. Skips the test if neither the cache nor npm has it."""
    if not CACHE.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm, which fetches axe-core, is not installed (Debian: npm)")
        CACHE.parent.mkdir(parents=True, exist_ok=True)
        CACHE.write_bytes(_fetched(npm, CACHE.parent))
    return CACHE.read_text(encoding="utf-8")


def _fetched(npm: str, folder: Path) -> bytes:
    command = [npm, "pack", f"axe-core@{VERSION}", "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, cwd=folder)
    if done.returncode:
        pytest.skip(f"npm does not reach its registry: {done.stderr.strip()[-200:]}")
    packed = folder / done.stdout.strip().splitlines()[-1]
    content = packed.read_bytes()
    packed.unlink()
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    assert digest == INTEGRITY, "the archive of axe-core does not have the published hash"
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        file = files.extractfile("package/axe.min.js")
        assert file is not None
        return file.read()


def violations(browser: Chrome) -> list[str]:
    """The serious and critical violations on the open page: rule, impact and place."""
    browser.execute_script(source())
    violated: list[dict[str, Any]] = browser.execute_async_script(RUN)
    return [
        f"{one['id']} ({one['impact']}): {[node['target'] for node in one['nodes']][:3]}"
        for one in violated
        if one["impact"] in ("serious", "critical")
    ]
