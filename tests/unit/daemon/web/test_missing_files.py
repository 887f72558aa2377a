"""Releases whose files are not on disk: the commands that the console names work, and change nothing else."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from factd.daemon.app import App, open_app
from factd.daemon.cli.main import cli
from factd.daemon.cli.operate.backup import publish_again
from factd.daemon.configuration import load_config
from factd.daemon.errors import Refused
from factd.daemon.publishing import publish
from factd.daemon.status.version_files import missing_files_text
from factd.daemon.web.actions import ACTIONS
from factd.daemon.web.app import application
from factd.daemon.web.auth.accounts import digest, new_token
from factd.store import operations, queries
from factd.store.database import migrate
from factd.store.model.operations import Role
from support.fakes.servers import accept
from support.paths import GOLDEN
from support.world import NOW

LIVE, RETIRED = 2, 1
COMMAND = re.compile("(?:<code>|`)factd ([^<`]+)(?:</code>|`)")


class Place:
    """A factd whose release 2 is live, release 1 was live before, and a client of its console."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "factd.toml"
        self.config.write_text(f'[model]\npath = "{GOLDEN / "llama" / "model"}"\n')
        migrate.upgrade(load_config(self.config).database)
        self.app = app = open_app(self.config, now=lambda: NOW)
        parts = (app.ledger, app.paths, app.versions, app.fleet, app.config.approvals)
        for _ in (RETIRED, LIVE):
            publish.publish(*parts, accept(app, NOW))
        token = new_token()
        with app.ledger.begin() as session:
            operations.accounts.add_token(session, "ci", Role.VIEW, digest(token), now=NOW)
        headers = {"Authorization": f"Bearer {token}"}
        self.client = TestClient(application(app), "http://127.0.0.1", headers=headers)

    def remove_files(self, number: int) -> None:
        shutil.rmtree(self.app.versions.folder(number))

    def files_shown(self, number: int) -> str:
        """What the page of a release says about its files."""
        found = re.search("<dt>(?:Files|On disk)</dt><dd>(.*?)</dd>", self.page(number))
        assert found
        return found[1]

    def page(self, number: int) -> str:
        answer = self.client.get(f"/releases/{number}")
        assert answer.status_code == 200
        return answer.text

    def run(self, command: str) -> None:
        done = CliRunner().invoke(cli, ["--config", str(self.config), *command.split()])
        assert done.exit_code == 0, (command, done.stderr)

    def live(self) -> int:
        with self.app.ledger.read() as session:
            live = queries.releases.live_release(session)
        assert live is not None
        return live.number

    def is_frozen(self) -> bool:
        with self.app.ledger.read() as session:
            return queries.releases.frozen(session) is not None


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.app.ledger.store.close()


def roll_back(app: App, number: int) -> None:
    ACTIONS["roll-back"].perform(app, str(number), "ada", "odd answers")


@pytest.mark.parametrize("number", [RETIRED, LIVE])
def test_the_command_on_a_release_page_writes_its_files_and_leaves_the_live_release(
    place: Place, number: int
) -> None:
    assert "ready to serve" in place.files_shown(number)
    place.remove_files(number)
    (command,) = COMMAND.findall(place.files_shown(number))
    place.run(command)
    assert place.app.versions.has(number)
    assert (place.live(), place.app.versions.current()) == (LIVE, LIVE)
    assert "ready to serve" in place.files_shown(number)


def test_a_refused_rollback_names_a_command_after_which_it_works(place: Place) -> None:
    place.remove_files(RETIRED)
    with pytest.raises(Refused) as refused:
        roll_back(place.app, RETIRED)
    assert (place.live(), place.is_frozen()) == (LIVE, False)
    (command,) = COMMAND.findall(str(refused.value))
    place.run(command)
    assert place.live() == LIVE
    roll_back(place.app, RETIRED)
    assert (place.live(), place.is_frozen()) == (RETIRED, True)


def test_without_its_delta_a_release_is_not_written_again_before_a_backup_is_there(
    place: Place,
) -> None:
    app = place.app
    with app.ledger.begin() as session:
        made = queries.releases.create_candidate(session, batch_id="b", fact_ids=[], now=NOW)
        release = queries.releases.create_release(
            session, candidate_id=made.id, delta_id="d", fact_ids=[], who="ada", why="x", now=NOW
        )
    delta = app.paths.candidate(made.id) / "delta"
    shown = missing_files_text(app.ledger, app.paths, release)
    assert "its delta was deleted" in shown and str(delta) in shown
    delta.mkdir(parents=True)
    shown = missing_files_text(app.ledger, app.paths, release)
    assert COMMAND.findall(shown) == [f"releases write {release.number}"]


def test_a_release_that_was_never_published_is_written_when_it_is(place: Place) -> None:
    number = accept(place.app, NOW)
    if place.app.versions.has(number):
        place.remove_files(number)
    assert "publishing the release writes them" in place.files_shown(number)
    assert COMMAND.findall(place.files_shown(number)) == []


def test_a_page_offers_to_roll_back_only_to_files_on_disk(place: Place) -> None:
    def offers(number: int) -> bool:
        return f"/actions/roll-back/{number}" in place.page(number)

    with place.app.ledger.begin() as session:
        secret = new_token()
        operations.accounts.add_token(session, "op", Role.OPERATE, digest(secret), now=NOW)
    place.client.headers["Authorization"] = f"Bearer {secret}"
    assert offers(RETIRED) and not offers(LIVE)
    place.remove_files(RETIRED)
    assert not offers(RETIRED)


def test_a_restore_without_versions_names_commands_that_bring_the_live_release_out(
    place: Place,
) -> None:
    shutil.rmtree(place.app.versions.root)
    for command in COMMAND.findall(publish_again(LIVE)):
        place.run(command)
    assert (place.live(), place.app.versions.current()) == (LIVE, LIVE)
    assert place.app.versions.has(LIVE)
