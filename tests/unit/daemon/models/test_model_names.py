"""Commands take the name of a known model in place of a folder."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from factd.daemon.cli.main import cli
from factd.editor.files.manifests import MANIFEST


@pytest.mark.parametrize(
    "words",
    [
        ("apply", "smollm2", "edits.jsonl", "--out", "edited"),
        ("tune", "smollm2"),
        ("init", "site", "--model", "smollm2"),
    ],
    ids=lambda words: words[0],
)
def test_a_model_that_was_not_fetched_is_refused_with_the_command_that_fetches_it(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1 and "run `factd models get smollm2`" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_configuration_names_the_folder_of_a_fetched_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "factd" / "models" / "smollm2"
    folder.mkdir(parents=True)
    (folder / MANIFEST).write_text("{}")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "model.safetensors").write_bytes(b"")
    done = CliRunner().invoke(cli, ["init", "site", "--model", "smollm2"])
    assert done.exit_code == 0, done.stderr
    assert f'path = "{folder}"' in (tmp_path / "site" / "factd.toml").read_text()
