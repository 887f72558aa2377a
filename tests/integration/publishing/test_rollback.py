"""A rollback to a version that is not on disk writes it again, or changes nothing."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from factd.daemon.app import App, open_app
from factd.store import queries
from support.terminal import THINGS, Operator, update

COUNTRIES = ("Germany", "Chile", "Egypt", "Stockholm")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A factd with four releases, of which the first two are no longer on disk."""
    folder = tmp_path_factory.mktemp("rollback") / "made"
    operator = Operator(folder, url=f"sqlite:///{folder}/state/factd.sqlite")
    path = folder / "factd.toml"
    text = path.read_text().replace(f'url = "sqlite:///{folder}/state/factd.sqlite"', 'url = ""')
    path.write_text(text + "\n[publish]\nkeep = 1\n")
    for number, country in enumerate(COUNTRIES):
        operator.ingest([update(THINGS[0], country, f"20{20 + number}-01-01")], f"{number}.jsonl")
        operator("edit", "--publish")
    return folder


@pytest.fixture
def operator(made: Path, tmp_path: Path) -> Operator:
    return Operator.copy(made, tmp_path / "copy")


@pytest.fixture
def app(operator: Operator) -> Iterator[App]:
    found = open_app(operator.folder / "factd.toml")
    yield found
    found.ledger.store.close()


def rollbacks(app: App) -> list[str]:
    with app.ledger.read() as session:
        lines = queries.releases.audit_log(session)
    return [line["what"] for line in lines if line["what"].startswith(("rollback", "freeze"))]


def delta_of(app: App, number: int) -> Path:
    with app.ledger.read() as session:
        candidate = queries.releases.release(session, number).candidate_id
    assert candidate is not None
    return app.paths.candidate(candidate) / "delta"


def test_a_version_that_was_pruned_is_written_again_and_that_is_said(
    operator: Operator, app: App
) -> None:
    assert app.versions.numbers() == [3, 4]
    done = operator.invoke("rollback", "--to", "2", "--why", "x")
    assert done.exit_code == 0, done.stderr
    assert "version 2 was not on disk; it was written again from its base and delta" in done.stdout
    assert (app.versions.current(), operator("status")["live"]["number"]) == (2, 2)
    assert operator("releases", "verify", "2")["ok"]
    assert operator("status")["frozen"] == "rolled back to release 2: x"


def test_a_release_whose_delta_is_gone_changes_nothing_and_names_a_rollback_that_works(
    operator: Operator, app: App
) -> None:
    kept = operator.folder / "kept"
    shutil.move(delta_of(app, 2), kept)
    said = operator.refused("rollback", "--to", "2", "--why", "x")
    assert f"its delta was pruned; bring {delta_of(app, 2)} back from a backup" in said
    assert operator("status")["frozen"] is None
    assert rollbacks(app) == []
    assert (app.versions.current(), operator("status")["live"]["number"]) == (4, 4)
    (command,) = re.findall("`factd (.*?)` works", said)
    assert command == "rollback --to 1"
    operator(*command.split())
    assert (app.versions.current(), operator("status")["live"]["number"]) == (1, 1)
    shutil.move(kept, delta_of(app, 2))
    operator("rollback", "--to", "2")
    assert app.versions.current() == 2


def test_a_release_whose_base_model_is_away_names_a_version_on_disk(
    operator: Operator, app: App
) -> None:
    config = operator.folder / "factd.toml"
    model = str(app.paths.original)
    config.write_text(config.read_text().replace(model, "/nowhere"))
    said = operator.refused("rollback", "--to", "2", "--why", "x")
    assert "its base is not at /nowhere" in said
    assert rollbacks(app) == [] and operator("status")["frozen"] is None
    (command,) = re.findall("`factd (.*?)` works", said)
    operator(*command.split())
    assert app.versions.current() == 3


def test_a_delta_that_is_damaged_changes_nothing(operator: Operator, app: App) -> None:
    file = delta_of(app, 2) / "delta.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    said = operator.refused("rollback", "--to", "2", "--why", "x")
    assert "version 2 could not be written again, nothing was changed" in said
    assert rollbacks(app) == [] and operator("status")["frozen"] is None


def test_a_release_that_was_never_live_is_not_rolled_back_to(operator: Operator, app: App) -> None:
    operator.ingest([update(THINGS[1], "Germany", "2024-01-01")])
    assert operator("edit")["release"] == 5
    said = operator.refused("rollback", "--to", "5")
    assert "was never live; `factd releases list`" in said
    assert rollbacks(app) == []
