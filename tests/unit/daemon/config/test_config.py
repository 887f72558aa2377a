"""Configuration: unknown keys and variables are refused, origins are shown, passwords are not."""

from pathlib import Path

import pytest

from factd.daemon.app import build
from factd.daemon.configuration import effective_values, load_config
from factd.daemon.errors import BadConfig
from factd.daemon.plugins import sources

MINIMAL = '[model]\npath = "model"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "factd.toml"
    found.write_text(MINIMAL)
    return found


def test_relative_paths_start_at_the_folder_of_the_file(path: Path) -> None:
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
        (MINIMAL + "x", "is not TOML"),
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
    rows = effective_values(load_config(path), path)
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


def test_secrets_of_sources_are_not_shown(path: Path) -> None:
    table = '[sources.{}]\nkind = "{}"\nurl = "{}"\n'
    path.write_text(
        MINIMAL
        + table.format("a", "sql_table", "postgresql://me:hunter2@db/x?sslpassword=hunter2")
        + table.format("b", "http_feed", "https://example.org/feed?token=hunter2&x=hunter2")
    )
    found = str(effective_values(load_config(path), path))
    assert "hunter2" not in found
    assert "postgresql://me:***@db/x" in found


def test_a_source_may_come_from_the_environment(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACTD_SOURCES__DROP_FOLDER", "elsewhere")
    monkeypatch.setenv("FACTD_SOURCES__NEWS__URL", "https://example.org/feed")
    monkeypatch.setenv("FACTD_SOURCES__NEWS__KIND", "http_feed")
    tables = load_config(path).sources.tables()
    assert str(tables["drop_folder"]["path"]) == "elsewhere"
    assert tables["news"] == {"kind": "http_feed", "url": "https://example.org/feed"}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("[sources.x]\n", "sources.x: there is no kind 'x'; choose one of"),
        ('[sources.http_feed]\nurl = "nonsense"\n', "sources.http_feed.url"),
        ('[sources.http_feed]\nurl = "http://a"\nurll = 1\n', "sources.http_feed.urll"),
        ("[sources]\nx = 1\n", "sources.x must be a table"),
        ('[sources.wikidata]\nitems = ["P38"]\n', "'P38' is not an item's id"),
        ('[sources.feed]\nurl = "http://a"\npattern = "Q"\n', "needs exactly one group"),
        ('[sources.feed]\nurl = "http://a"\npattern = "("\n', "is not a regular expression"),
        ('[sources.sql_table]\ntable = "a"\n', "give exactly one of url and url_file"),
        ('[sources.sql_table]\nurl = "sqlite://"\ntable = "a; b"\n', "sources.sql_table.table"),
    ],
)
def test_a_wrong_source_is_refused_with_its_key(table: str, reason: str, path: Path) -> None:
    path.write_text(MINIMAL + table)
    with pytest.raises(BadConfig) as caught:
        sources(load_config(path))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ('[conflicts]\nrules = ["age"]\n', "conflicts.rules"),
        ("[conflicts]\nrules = []\n", "conflicts.rules"),
        ('[planning]\nwindows = ["night"]\n', "is not a window"),
        ('[planning]\nfreeze_days = ["2026-13-01"]\n', "planning.freeze_days"),
    ],
)
def test_rules_windows_and_days_are_checked(table: str, reason: str, path: Path) -> None:
    path.write_text(MINIMAL + table)
    with pytest.raises(BadConfig, match=reason):
        load_config(path)


def test_relations_are_chosen_by_their_ids(path: Path) -> None:
    path.write_text(MINIMAL + '[write]\nrelations = ["P38", "P6"]\n')
    assert list(build(load_config(path)).prompts.catalogue) == ["P38", "P6"]
    path.write_text(MINIMAL + '[write]\nrelations = ["P0"]\n')
    with pytest.raises(BadConfig, match="no relation 'P0'"):
        build(load_config(path))


def test_a_password_is_masked(path: Path) -> None:
    path.write_text(MINIMAL + '[store]\nurl = "postgresql://me:secret@localhost/x"\n')
    config = load_config(path)
    assert "secret" in config.database
    assert "secret" not in str(effective_values(config, path))


def test_a_database_with_a_password_comes_from_a_file(path: Path) -> None:
    path.write_text(MINIMAL + '[store]\nurl_file = "secrets/database"\n')
    with pytest.raises(BadConfig, match="secrets/database cannot be read"):
        _ = load_config(path).database
    (path.parent / "secrets").mkdir()
    (path.parent / "secrets" / "database").write_text("postgresql://me:hunter2@localhost/x\n")
    assert load_config(path).database == "postgresql://me:hunter2@localhost/x"
    assert "hunter2" not in str(effective_values(load_config(path), path))
    path.write_text(MINIMAL + '[store]\nurl_file = "x"\nurl = "sqlite://"\n')
    with pytest.raises(BadConfig, match="give one of url and url_file"):
        load_config(path)
