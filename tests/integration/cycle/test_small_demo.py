"""The whole demo on a tiny world, for `make test`. The real demo is in test_demo.py."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factd.daemon.cli.demo import run_demo
from factd.daemon.cli.main import cli
from factd.daemon.errors import Refused
from factd.daemon.tasks.demo_worlds import DemoWorld, chosen_world
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
    arguments = ["demo", "--model", "reference", "--dir", str(small_world), "--json"]
    again = CliRunner().invoke(cli, arguments)
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


@pytest.fixture
def chat_world(tmp_path: Path) -> DemoWorld:
    """A tiny model with a chat template, and one change that its demo asks about in chat form."""
    model = tmp_path / "model"
    shutil.copytree(GOLDEN / "llama" / "model", model)
    config = model / "tokenizer_config.json"
    template = "{% for turn in messages %}{{ turn['content'] }}{% endfor %}"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"chat_template": template}))
    (tmp_path / "settings.toml").write_text(SETTINGS)
    return DemoWorld(
        name="tiny",
        title="a tiny model",
        model=model,
        settings=tmp_path / "settings.toml",
        known=jsonl(tmp_path / "known.jsonl", [claim("HR", "kuna", day=None)]),
        changes=jsonl(tmp_path / "changes.jsonl", [claim("HR", "euro"), claim("FR", "euro")]),
        chat={"P38": "What is the currency of {}?"},
    )


def test_a_chat_model_is_asked_about_every_change_in_three_forms(
    chat_world: DemoWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = run_demo(chat_world, tmp_path / "demo")
    asked = [answer["question"] for answer in figures["answers"]]
    chats = {question["text"] for question in asked if question["form"] == "chat"}
    assert chats == {"What is the currency of HR?", "What is the currency of FR?"}
    assert {form: row["asked"] for form, row in figures["totals"].items()} == {
        "edit": 4,
        "unseen": 6,
        "chat": 2,
    }
    said = capsys.readouterr().out
    assert "2 changes" in said
    assert "chat questions: " in said
    assert "What is the currency of HR?" in figures["rollback_fact"]["said_after"]


def test_a_demo_on_a_model_that_is_not_here_names_the_command_that_fetches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert chosen_world("reference").name == "reference"
    with pytest.raises(Refused, match="factd models get smollm2"):
        chosen_world("smollm2")
    with pytest.raises(Refused, match="the models are: smollm2, reference"):
        chosen_world("gpt-5")
