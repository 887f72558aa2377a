"""The drop folder and the local directory: nothing is lost, nothing is half there."""

from pathlib import Path

import pytest

from factd.daemon.app import App, build
from factd.daemon.artefacts.versions import Versions
from factd.daemon.configuration import load_config
from factd.daemon.errors import PublishFailed
from factd.daemon.ingestion.pull import pull
from factd.store import queries
from factd.store.database import migrate
from support.paths import GOLDEN
from support.world import Maker, claim, jsonl

BASE = GOLDEN / "llama" / "model"


@pytest.fixture
def app(tmp_path: Path) -> App:
    path = tmp_path / "factd.toml"
    path.write_text(f'[model]\npath = "{BASE}"\n')
    found = build(load_config(path))
    migrate.upgrade(found.config.database)
    return found


@pytest.mark.case(
    "drop_folder",
    "bad lines among good ones; files of one name",
    "done/, or failed/ with an error file; nothing is deleted",
)
def test_files_of_one_name_end_side_by_side_and_a_bad_one_has_an_error_file(app: App) -> None:
    inbox = app.config.root / "inbox"
    inbox.mkdir()
    for rows in ([claim("HR", "EUR")], [claim("FR", "EUR"), b"{x"], [claim("IT", "EUR")]):
        jsonl(inbox / "x.jsonl", rows)
        assert pull(app.ledger, app.paths, app.prompts, app.sources, "drop_folder").files == 1
    (inbox / "notes.txt").write_text("no source")
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "drop_folder").files == 0
    assert sorted(p.name for p in (inbox / "done").iterdir()) == ["x.1.jsonl", "x.jsonl"]
    assert "line 2" in (inbox / "failed" / "x.jsonl.errors").read_text()
    with app.ledger.begin() as session:
        assert {f.subject.id for f in queries.facts.candidate_set(session)} == {"HR", "FR", "IT"}


def test_a_file_that_a_crash_left_in_processing_is_taken_up_again(app: App) -> None:
    left = app.config.root / "inbox" / "processing"
    left.mkdir(parents=True)
    jsonl(left / "x.jsonl", [claim("HR", "EUR")])
    assert (
        pull(app.ledger, app.paths, app.prompts, app.sources, "drop_folder").new,
        pull(app.ledger, app.paths, app.prompts, app.sources, "drop_folder").files,
    ) == (1, 0)


@pytest.mark.case(
    "drop_folder", "a crash in the middle of a file", "goes on after the last line that was stored"
)
def test_a_file_goes_on_after_the_last_line_that_was_stored(
    make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factd.daemon.sources.drop_folder.LINES", 2)
    app = make()
    left = app.config.root / "inbox" / "processing"
    left.mkdir(parents=True)
    jsonl(left / "x.jsonl", [claim(f"T{n}", "EUR") for n in range(5)])
    with app.ledger.begin() as session:
        queries.sources.save_state(session, "drop_folder", cursor={"file": "x.jsonl", "line": 2})
    found = pull(app.ledger, app.paths, app.prompts, app.sources, "drop_folder")
    assert (found.files, found.lines, found.new) == (2, 3, 3)
    jsonl(app.config.root / "inbox" / "x.jsonl", [claim("T0", "EUR")])
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "drop_folder").new == 1


def weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")


def test_current_is_swapped_and_old_versions_are_pruned_but_never_the_base(tmp_path: Path) -> None:
    place = Versions(tmp_path / "published", keep=2)
    assert place.current() is None
    for number in range(5):
        place.write(number, weights, {})
        place.switch(number)
        assert place.current() == number
    assert place.numbers() == [0, 2, 3, 4]
    assert (tmp_path / "published" / "current" / "model.safetensors").is_file()
    with pytest.raises(PublishFailed, match="factd releases write 1"):
        place.switch(1)
    assert place.current() == 4


def test_a_version_without_its_manifest_is_not_there(tmp_path: Path) -> None:
    place = Versions(tmp_path / "published", keep=2)
    place.write(1, weights, {})
    (place.folder(1) / "manifest.json").unlink()
    assert not place.has(1)
