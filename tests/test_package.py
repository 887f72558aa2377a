"""The wheel and the source archive hold one package, `factd`, with every file of its folders.

The quick tests ask hatchling for its list of files. The slow tests build, install and run, in a
virtual environment outside the checkout; they need pip and a package registry.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from support.paths import ROOT

PACKAGES = ("bench", "daemon", "editor", "migrations", "reference", "store")
INCLUDED: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"][
    "build"
]["only-include"]
DATA_FILES = (
    "factd/py.typed",
    "factd/daemon/web/static/*.css",
    "factd/daemon/web/templates/*.html",
    "factd/editor/reports/html/*.html",
    "factd/editor/tuning/presets/*.toml",
    "factd/migrations/versions/*.py",
    "factd/migrations/script.py.mako",
    "factd/reference/data/*.jsonl",
    "factd/reference/model/*.safetensors",
    "factd/reference/settings.toml",
    "factd/store/catalogue/function_words.toml",
    "factd/store/catalogue/relations/*.toml",
)


def tracked_files() -> list[str]:
    """The paths from the root of the files and links that git tracks or would add."""
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("this is no git checkout")
    return [name for name in done.stdout.split("\0") if name and os.path.lexists(ROOT / name)]


@cache
def in_wheel() -> frozenset[str]:
    files = WheelBuilder(str(ROOT)).recurse_included_files()
    return frozenset(file.distribution_path for file in files)


def in_archive() -> set[str]:
    return {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}


def test_the_wheel_has_one_package_with_every_tracked_file_of_its_folders() -> None:
    expected = {f"factd/{name}" for name in tracked_files() if name.split("/")[0] in PACKAGES}
    expected |= {"factd/__init__.py", "factd/py.typed"}
    assert len(expected) > 400
    assert in_wheel() == expected


@pytest.mark.parametrize("pattern", DATA_FILES)
def test_the_wheel_has_data_files(pattern: str) -> None:
    assert [name for name in in_wheel() if Path(name).match(pattern)]


def test_the_archive_has_what_the_wheel_is_built_from() -> None:
    sources = {name.removeprefix("factd/") for name in in_wheel()} - {"__init__.py", "py.typed"}
    assert sources | {"src/factd/__init__.py", "src/factd/py.typed"} <= in_archive()


def test_every_link_in_src_names_a_packaged_folder_and_the_image_copies_it() -> None:
    links = [path for path in (ROOT / "src" / "factd").iterdir() if path.is_symlink()]
    assert {path.name for path in links} == set(PACKAGES)
    assert [path for path in links if path.resolve() != ROOT / path.name] == []
    assert set(PACKAGES) == {name for name in INCLUDED if not name.startswith("src/")}
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert {"src", *PACKAGES} <= set(re.findall(r"(?m)^COPY (\w+) \./\w+$", dockerfile))


# -- from here on slow: build, install, run


def run(command: Sequence[str | Path], cwd: Path) -> str:
    """The output of a command that knows nothing of this checkout."""
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "COVERAGE_", "FACTD_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def fresh_environment(folder: Path) -> Path:
    """The python of a new virtual environment without the editable factd of this one.

    The new environment sees all other libraries of this one: a line of a .pth file puts their
    folder behind the environment's own packages. Python does not read the .pth files in that
    folder, by which an editable factd is installed.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    own = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder)
    libraries = [path for path in sys.path if Path(path).name == "site-packages"]
    (Path(own.strip()) / "zz-libraries.pth").write_text("\n".join(libraries))
    return python


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files, with the links as links."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in tracked_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name, follow_symlinks=False)
    return folder


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", folder, checkout], folder)
    return next(folder.glob("factd-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The python of an environment with the wheel and a foreign package named `daemon`."""
    python = fresh_environment(tmp_path_factory.mktemp("installed") / "venv")
    run([python, "-m", "pip", "install", "--quiet", "--no-deps", wheel], wheel.parent)
    run([python, "-m", "pip", "install", "--quiet", "python-daemon"], wheel.parent)
    return python


@pytest.mark.slow
def test_the_built_wheel_has_factd_and_its_metadata_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = sorted({name.split("/")[0] for name in names})
    assert re.fullmatch(r"factd factd-[\w.]+\.dist-info", " ".join(tops))
    assert {name for name in names if name.startswith("factd/")} == in_wheel()


@pytest.mark.slow
def test_the_wheel_built_from_the_archive_is_the_wheel_built_from_the_checkout(
    checkout: Path, wheel: Path, tmp_path: Path
) -> None:
    run([sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path], checkout)
    archive = next(tmp_path.glob("factd-*.tar.gz"))
    run([sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, archive], tmp_path)
    assert (tmp_path / wheel.name).read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_factd_lives_beside_a_project_whose_import_name_is_daemon(
    installed: Path, tmp_path: Path
) -> None:
    code = (
        "from daemon import DaemonContext; import daemon, factd.daemon, factd.editor, factd.store\n"
        "for module in (daemon, factd.daemon, factd.editor, factd.store): print(module.__file__)"
    )
    library = (
        installed.parents[1] / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    )
    assert run([installed, "-c", code], tmp_path).split() == [
        str(library / name / "__init__.py")
        for name in ("daemon", "factd/daemon", "factd/editor", "factd/store")
    ]


@pytest.mark.slow
def test_the_installed_program_starts_and_makes_a_database(installed: Path, tmp_path: Path) -> None:
    factd = installed.parent / "factd"
    assert run([factd, "version"], tmp_path).strip()
    commands = run([factd, "--help"], tmp_path)
    assert "rollback" in commands and "bench" in commands
    run([factd, "init", "here"], tmp_path)
    run([factd, "db", "upgrade"], tmp_path / "here")
    run([factd, "db", "check"], tmp_path / "here")
    assert "0 findings" in run([factd, "relations", "check"], tmp_path)
    code = "from factd.reference.paths import FACTS, MODEL; print(MODEL.is_dir(), FACTS.is_file())"
    assert run([installed, "-c", code], tmp_path).split() == ["True", "True"]


@pytest.mark.slow
def test_an_editable_install_imports_the_folders_of_the_checkout(
    checkout: Path, tmp_path: Path
) -> None:
    python = fresh_environment(tmp_path / "venv")
    run([python, "-m", "pip", "install", "--quiet", "--no-deps", "--editable", checkout], tmp_path)
    code = (
        "import factd.daemon, factd.store; from pathlib import Path\n"
        "for module in (factd.daemon, factd.store): print(Path(module.__file__).resolve().parent)"
    )
    assert run([python, "-c", code], tmp_path).split() == [
        str(checkout / "daemon"),
        str(checkout / "store"),
    ]
    assert run([python.parent / "factd", "version"], tmp_path).strip()
