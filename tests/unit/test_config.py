"""Configuration: unknown keys and variables are refused, origins are shown, passwords are not."""

from pathlib import Path

import pytest

from daemon.config import load_config, shown
from daemon.errors import BadConfig

MINIMAL = '[model]\npath = "model"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "factd.toml"
    found.write_text(MINIMAL)
    return found


def test_relative_paths_are_meant_from_the_files_folder(path: Path) -> None:
    config = load_config(path)
    assert config.model.path == path.parent / "model"
    assert config.publish.path == path.parent / "published"
    assert config.database == f"sqlite:///{path.parent / 'state' / 'factd.sqlite'}"
    assert config.served == ("en",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (MINIMAL + "[modell]\n", "modell: Extra inputs"),
        (MINIMAL + "pathh = 1\n", "model.pathh"),
        ("", "model: Field required"),
        (MINIMAL + "[gates]\nknown_kept = 2\n", "gates.known_kept"),
        (MINIMAL + '[store]\nurl = "nonsense"\n', "store.url"),
        (MINIMAL + "x", "is no TOML"),
    ],
)
def test_a_wrong_file_is_refused_with_the_key(text: str, reason: str, path: Path) -> None:
    path.write_text(text)
    with pytest.raises(BadConfig) as caught:
        load_config(path)
    assert reason in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="factd init"):
        load_config(tmp_path / "nothing.toml")


def test_the_environment_wins_over_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(MINIMAL + "[http]\nport = 1\n")
    monkeypatch.setenv("FACTD_HTTP__PORT", "2")
    assert load_config(path).http.port == 2
    rows = shown(load_config(path), path)
    assert rows["http.port"] == {"value": "2", "origin": "environment"}
    assert rows["model.path"]["origin"] == "file"
    assert rows["http.host"]["origin"] == "default"


@pytest.mark.parametrize("name", ["FACTD_HTTP__PROT", "FACTD_HTPP__PORT", "FACTD_NONSENSE"])
def test_a_mistyped_variable_is_refused(
    name: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(BadConfig, match=name):
        load_config(path)


def test_a_password_is_masked(path: Path) -> None:
    path.write_text(MINIMAL + '[store]\nurl = "postgresql://me:secret@localhost/x"\n')
    config = load_config(path)
    assert "secret" in config.database
    assert "secret" not in str(shown(config, path))
