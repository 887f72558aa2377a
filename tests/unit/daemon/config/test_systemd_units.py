"""systemd itself finds the units well formed and little exposed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.paths import ROOT

FOLDER = ROOT / "deploy" / "systemd"
UNITS = sorted(path.name for path in FOLDER.glob("*.service"))
MOST = 2.5  # exposure
LIBRARY = Path("/lib/systemd/system")


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A root with systemd's own units, ours, and a program where they expect it."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze is installed (Debian: systemd)")
    units = tmp_path / "etc" / "systemd" / "system"
    shutil.copytree(FOLDER, units)
    shutil.copytree(LIBRARY, tmp_path / "usr" / "lib" / "systemd" / "system", symlinks=True)
    for program in (tmp_path / "opt" / "factd" / "bin" / "factd", tmp_path / "bin" / "sh"):
        program.parent.mkdir(parents=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return tmp_path


def analyzed(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("with_devices", [False, True])
@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_is_little_exposed(unit: str, with_devices: bool, host: Path) -> None:
    units = host / "etc" / "systemd" / "system"
    if with_devices:
        target = units / f"{unit}.d"
        target.mkdir(exist_ok=True)
        shutil.copyfile(FOLDER / "factd-worker.service.d" / "nvidia.conf", target / "nvidia.conf")
    else:
        shutil.rmtree(units / f"{unit}.d", ignore_errors=True)
    done = analyzed("security", "--offline=true", f"--root={host}", unit)
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= MOST


def test_systemd_finds_nothing_wrong(host: Path) -> None:
    done = analyzed("verify", f"--root={host}", *UNITS)
    ours = [line for line in done.stderr.splitlines() if "factd" in line]
    assert ours == []


def test_systemd_would_find_a_wrong_line(host: Path) -> None:
    path = host / "etc" / "systemd" / "system" / UNITS[0]
    path.write_text(path.read_text().replace("ProtectSystem=strict", "ProtectSystem=nonsense"))
    assert "protect system" in analyzed("verify", f"--root={host}", UNITS[0]).stderr
