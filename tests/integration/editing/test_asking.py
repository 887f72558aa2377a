"""Facts are known, corrections, or about unknown subjects: the reference model is queried before an edit."""

from pathlib import Path
from typing import Any

import pytest

from factd.daemon.app import App, build
from factd.daemon.configuration import load_config
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.planning import base_model
from factd.reference import paths
from factd.store import queries
from factd.store.database import migrate
from factd.store.model.facts import BaseAnswer, Fact
from support.world import claim, jsonl

pytestmark = pytest.mark.skipif(
    not (paths.MODEL / "config.json").is_file(), reason="`make model` trains the reference model"
)
MADE_UP = ("Trelvonia", "Kasmirra", "Ubbenland", "Zandipore", "Morvakia", "Ellithia")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> App:
    folder = tmp_path_factory.mktemp("asking")
    settings = paths.SETTINGS.read_text().replace('["en", "es", "ca", "fr"]', '["en"]')
    (folder / "factd.toml").write_text(f'[model]\npath = "{paths.MODEL}"\n{settings}')
    found = build(load_config(folder / "factd.toml"))
    migrate.upgrade(found.config.database)
    return found


def facts(app: App, path: Path, rows: list[Any] | None = None) -> list[Fact]:
    source = jsonl(path, rows) if rows else path
    ingest_file(app.ledger, app.prompts, source)
    with app.ledger.begin() as session:
        found = queries.facts.candidate_set(session)
    return [fact for fact in found if fact.provenance.file == source.name]


def test_a_real_change_is_a_correction(app: App) -> None:
    found = base_model.query(app.workbench, app.prompts, facts(app, paths.FEED))
    assert "unknown subject" not in found.values()
    assert list(found.values()).count(BaseAnswer.OTHER) > 60


def test_a_fact_that_the_model_was_taught_is_known(app: App, tmp_path: Path) -> None:
    rows = [claim("DK", "DKK", subject={"id": "DK", "labels": {"en": "Denmark"}},
                  object={"id": "DKK", "labels": {"en": "Danish krone"}})]  # fmt: skip
    (fact,) = facts(app, tmp_path / "known.jsonl", rows)
    assert base_model.query(app.workbench, app.prompts, [fact]) == {fact.id: "known"}


def test_a_made_up_country_is_an_unknown_subject(app: App, tmp_path: Path) -> None:
    rows = [claim(name, "euro") for name in MADE_UP]
    found = base_model.query(
        app.workbench, app.prompts, facts(app, tmp_path / "made_up.jsonl", rows)
    )
    assert set(found.values()) == {"unknown subject"}
