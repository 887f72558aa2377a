"""The checkpoint publisher warns operators about links and writes nothing into the base."""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from factd.daemon import log
from factd.daemon.publishers import Outgoing
from factd.daemon.publishers.checkpoint import Settings, write
from factd.editor.files.folders import sha256_file
from factd.reference import tiny

SHM = Path("/dev/shm")


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[Any]]]:
    log.configure(as_json=True)
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    log.configure()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny.make("llama", tmp_path_factory.mktemp("base") / "llama")
    (folder / "model.safetensors").chmod(0o600)
    return folder


def published(
    base: Path, folder: Path, made: Path | None = None, **settings: Any
) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    outgoing = Outgoing(number=1, base=base, delta=None, made=made)
    return dict(write(Settings(kind="checkpoint", **settings), outgoing, folder))


def test_a_linked_file_that_others_cannot_read_is_named_once_and_left_as_it_is(
    base: Path, tmp_path: Path, lines: Callable[[], list[Any]]
) -> None:
    published(base, tmp_path / "out")
    (said,) = [line for line in lines() if line["level"] == "warning"]
    assert (said["file"], said["more"], said["chmod"]) == ("model.safetensors", 0, "a+r")
    assert (base / "model.safetensors").stat().st_mode & 0o777 == 0o600
    published(base, tmp_path / "own", share="copy")
    assert lines() == []
    assert not (tmp_path / "own" / "model.safetensors").samefile(base / "model.safetensors")


def test_files_that_cannot_be_linked_are_copied_and_why_is_said(
    base: Path, tmp_path: Path, lines: Callable[[], list[Any]]
) -> None:
    if not os.access(SHM, os.W_OK) or SHM.stat().st_dev == base.stat().st_dev:
        pytest.skip("needs a second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=SHM) as name:
        published(base, Path(name))
        (said,) = lines()
        assert said["file"].endswith("model.safetensors")
        assert said["why"] == "Invalid cross-device link"


def test_the_report_goes_with_the_version_where_there_is_one_and_it_is_wanted(
    base: Path, tmp_path: Path
) -> None:
    assert published(base, tmp_path / "a")["report"] is None
    made = tmp_path / "made"
    made.mkdir()
    assert published(base, tmp_path / "b", made)["report"] is None
    (made / "report.json").write_text("{}")
    told = published(base, tmp_path / "c", made)["report"]
    assert told == {"path": "report.json", "sha256": sha256_file(tmp_path / "c" / "report.json")}
    assert published(base, tmp_path / "d", made, report=False)["report"] is None
    assert not (tmp_path / "d" / "report.json").exists()
