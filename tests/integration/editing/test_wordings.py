"""A broken wording is found before facts are written in it; sound wordings are not reported."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from factd.daemon.app import App, build
from factd.daemon.configuration import load_config
from factd.daemon.evaluation.probe_sets import known_facts
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.planning.wordings import broken_wordings
from factd.reference import paths
from factd.store.database import migrate
from support.databases import cycle_database

CONFIG = f"""
[model]
path = "{paths.MODEL}"
[store]
url = "{{url}}"
[write]
languages = ["en", "es"]
relations = ["P37", "P38"]
[method.memit]
layers = [0, 1, 2]
second_moment_weight = 100.0
terminator = "."
"""


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    path = tmp_path / "factd.toml"
    path.write_text(CONFIG.format(url=cycle_database()))
    found = build(load_config(path))
    migrate.upgrade(found.config.database)
    lines = paths.FACTS.read_text(encoding="utf-8").splitlines()
    some = [line for line in lines if '"P37"' in line or '"P38"' in line][::4]
    (tmp_path / "known.jsonl").write_text("\n".join(some) + "\n", encoding="utf-8")
    ingest_file(found.ledger, found.prompts, tmp_path / "known.jsonl", known=True)
    yield found
    found.ledger.store.close()


def test_a_wording_copied_from_another_relation_is_named_and_the_packaged_ones_are_sound(
    app: App,
) -> None:
    known = known_facts(app.ledger, app.prompts)
    assert broken_wordings(app.workbench, app.prompts, ["P37", "P38"], known) == {}
    relation = app.prompts.catalogue["P37"]
    wrong = replace(relation.wordings["es"], edit=app.prompts.catalogue["P38"].wordings["es"].edit)
    broken = replace(relation, wordings={**relation.wordings, "es": wrong})
    other = replace(app.prompts, catalogue={**app.prompts.catalogue, "P37": broken})
    found = broken_wordings(app.workbench, other, ["P37", "P38"], known)
    assert set(found) == {"P37"}
    assert "in es is broken: of 12 known facts the base answers 0% in it" in found["P37"]


def test_a_wording_with_few_known_facts_is_not_judged(app: App) -> None:
    assert (
        broken_wordings(
            app.workbench, app.prompts, ["P37"], known_facts(app.ledger, app.prompts)[:3]
        )
        == {}
    )
