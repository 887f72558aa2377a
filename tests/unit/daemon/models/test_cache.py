"""Converted models are found by their names, in the user's cache."""

from pathlib import Path

import pytest

from factd.daemon.errors import Refused
from factd.daemon.models import KNOWN, cache_folder, folder, known_model, resolve


def test_the_cache_is_where_the_xdg_specification_says(tmp_path: Path) -> None:
    assert cache_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "factd" / "models"
    home = Path.home() / ".cache" / "factd" / "models"
    assert cache_folder({}) == home
    assert cache_folder({"XDG_CACHE_HOME": "relative"}) == home


def test_only_a_finished_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "smollm2").mkdir()
    assert folder("smollm2", tmp_path) is None
    (tmp_path / "smollm2" / "manifest.json").write_text("{}")
    assert folder("smollm2", tmp_path) == tmp_path / "smollm2"


def test_a_name_that_is_not_in_the_table_has_no_folder(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "manifest.json").write_text("{}")
    assert folder("other", tmp_path) is None
    with pytest.raises(Refused, match=r"it knows smollm2, gemma3.*models import"):
        known_model("other")


def test_a_name_leads_to_its_folder_and_a_path_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused, match="factd models get gemma3"):
        resolve("gemma3", tmp_path)
    (tmp_path / "gemma3").mkdir()
    (tmp_path / "gemma3" / "manifest.json").write_text("{}")
    assert resolve(Path("gemma3"), tmp_path) == tmp_path / "gemma3"
    assert resolve("models/llama", tmp_path) == Path("models/llama")
    monkeypatch.chdir(tmp_path)
    assert resolve("gemma3", tmp_path / "elsewhere") == Path("gemma3")


def test_every_known_model_says_what_its_files_and_their_licence_are() -> None:
    for model in KNOWN.values():
        hashes = [model.gguf_sha256, *(wheel.sha256 for wheel in model.wheels)]
        assert all(len(value) == 64 for value in hashes)
        assert any(wheel.gguf_part for wheel in model.wheels)
        kept = {text.rpartition("/")[2] for wheel in model.wheels for text in wheel.texts}
        assert kept == set(model.licence_files)
