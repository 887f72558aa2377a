"""`factd servers`: what an operator sees and does about servers, with commands that keep what they were given in a file."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from factd.daemon.app import open_app
from factd.daemon.cli.main import cli
from factd.daemon.configuration import load_config
from factd.daemon.publishing import publish
from factd.store.database import migrate
from support.fakes.servers import accept
from support.paths import GOLDEN
from support.world import NOW

MODEL = GOLDEN / "llama" / "model"
KEEPS = """
[servers.{name}]
kind = "command"
command = ["sh", "-c", "{command}"]
unasked = true
"""


class Terminal:
    """A factd with a live release and two servers, of which one refuses."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "factd.toml"
        right = f"echo $FACTD_RELEASE > {folder}/served"
        tables = KEEPS.format(name="eu", command=right) + KEEPS.format(
            name="us", command=f"test -e {folder}/ready"
        )
        self.config.write_text(f'[model]\npath = "{MODEL}"\n{tables}')
        migrate.upgrade(load_config(self.config).database)
        app = open_app(self.config, now=lambda: NOW)
        publish.publish(
            app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, accept(app, NOW)
        )
        app.ledger.store.close()

    def __call__(self, *words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(cli, ["--config", str(self.config), "servers", *words, "--json"])
        assert done.exit_code == code, (done.stdout, done.stderr, done.exception)
        return json.loads(done.stdout) if done.stdout else done.stderr.strip().splitlines()[-1]

    def said(self, *words: str) -> str:
        done = CliRunner().invoke(cli, ["--config", str(self.config), "servers", *words])
        return done.stdout + done.stderr


@pytest.fixture
def servers(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_what_is_due_is_handed_over_and_who_refuses_is_named(
    servers: Terminal, tmp_path: Path
) -> None:
    assert [(one["name"], one["status"]) for one in servers("list")] == [
        ("eu", "waiting"),
        ("us", "waiting"),
    ]
    found = servers("sync", code=1)
    assert [(one["server"], one["status"]) for one in found] == [("eu", "done"), ("us", "waiting")]
    assert (tmp_path / "served").read_text() == "1\n"
    said = servers.said("list")
    assert "eu               serves release 1\n" in said
    assert "release 1 is on its way (attempt 1): sh failed with exit code 1" in said
    assert servers("sync") == []  # not yet


def test_a_server_is_given_the_release_again_when_an_operator_says_so(
    servers: Terminal, tmp_path: Path
) -> None:
    servers("sync", code=1)
    (tmp_path / "ready").touch()
    (done,) = servers("retry", "us", "--why", "the disk is mounted")
    assert (done["server"], done["status"], done["restored"]) == ("us", "done", None)
    assert "the disk is mounted" in done["why"]
    history = servers("history", "us")
    assert [one["status"] for one in history] == ["done", "superseded"]
    assert "not asked" in servers.said("history")


def test_a_server_that_nobody_configured_is_no_server(servers: Terminal) -> None:
    for words in (("check", "asia"), ("retry", "asia")):
        assert "the configuration has: eu, us" in servers(*words, code=1)
    assert servers("check", "eu")["fits"]  # it cannot be asked, and says nothing else
