"""The whole demo on a tiny world, for `make test`. The real demo is in test_demo.py."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factd.daemon.cli.main import cli
from factd.reference import paths
from support.paths import GOLDEN
from support.world import GATES_OFF, claim, jsonl

SETTINGS = f"""
[write]
languages = ["en"]

[gates]
{GATES_OFF}
[method.memit]
layers = [0, 1]
second_moment_weight = 30.0
v_num_grad_steps = 3
second_moment_tokens = 1000

[method.memit.templates]
en = ["The report was long"]
"""


@pytest.fixture
def small_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "MODEL", GOLDEN / "llama" / "model")
    monkeypatch.setattr(
        paths,
        "FACTS",
        jsonl(tmp_path / "facts.jsonl", [claim(s, "kuna", day=None) for s in ("HR", "BA")]),
    )
    monkeypatch.setattr(
        paths, "FEED", jsonl(tmp_path / "feed.jsonl", [claim("HR", "euro"), claim("FR", "euro")])
    )
    monkeypatch.setattr(paths, "SETTINGS", tmp_path / "settings.toml")
    paths.SETTINGS.write_text(SETTINGS)
    return tmp_path / "demo"


def test_the_demo_prints_what_it_does_and_writes_the_same_as_json(small_world: Path) -> None:
    done = CliRunner().invoke(cli, ["demo", "--model", "reference", "--dir", str(small_world)])
    assert done.exit_code == 0, (done.stderr, done.exception)
    for word in (
        "ingested",
        "batch",
        "edited",
        "gate       accepted",
        "release    1",
        "rollback   of one fact",
        "done",
    ):
        assert word in done.stdout
    figures = json.loads((small_world / "demo.json").read_text())
    assert figures["ingested"] == {"known": 2, "feed": 2, "bad": 0}
    assert figures["rollback_to"]["current"] == 1
    again = CliRunner().invoke(cli, ["demo", "--model", "reference", "--dir", str(small_world), "--json"])
    assert json.loads(again.stdout)["update"]["batch_id"] == figures["update"]["batch_id"]


def test_the_demo_touches_no_folder_that_is_not_its_own(small_world: Path) -> None:
    small_world.mkdir()
    (small_world / "mine.txt").write_text("precious")
    done = CliRunner().invoke(cli, ["demo", "--model", "reference", "--dir", str(small_world)])
    assert done.exit_code == 1
    assert "no earlier demo's" in done.stderr
    assert (small_world / "mine.txt").read_text() == "precious"


def test_a_demo_whose_gate_refuses_says_so(small_world: Path) -> None:
    paths.SETTINGS.write_text(
        SETTINGS.replace("edit_generation = false", "edit_generation = 1.0", 1)
    )
    done = CliRunner().invoke(cli, ["demo", "--model", "reference", "--dir", str(small_world)])
    assert done.exit_code == 1
    assert "the gate refused the update" in done.stderr
