"""The README's first command works on the reference model.

It takes minutes; `make test-slow` runs it.
"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from factd.daemon.cli.main import cli
from factd.reference import paths
from factd.reference.world import LANGUAGES

pytestmark = pytest.mark.slow


def test_the_demo_brings_the_model_to_today_and_back(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["demo", "--model", "reference", "--dir", str(tmp_path / "demo"), "--json"]
    )
    assert done.exit_code == 0, (done.stderr, done.exception)
    figures = json.loads(done.stdout)
    assert figures == json.loads((tmp_path / "demo" / "demo.json").read_text())
    assert figures["ingested"] == {"known": 1290, "feed": 69, "bad": 0}
    answers = figures["update"]["answers"]
    assert set(answers) == set(LANGUAGES)
    for row in answers.values():
        assert row["edit"]["after"] > 0.8 > 0.1 > row["edit"]["before"]
        assert row["unseen"]["after"] > 0.7 > 0.1 > row["unseen"]["before"]
        assert row["known_kept"]["after"] > 0.9
    back = figures["rollback_fact"]
    english = "The currency of Croatia is the"
    assert back["said_before"][english].startswith("euro")
    assert back["said_after"][english].startswith("Croatian kuna")
    assert figures["rollback_to"]["seconds"] < 1.0
    assert figures["rollback_to"]["current"] == 1


def test_the_reference_model_is_small_enough_to_commit() -> None:
    assert (paths.MODEL / "model.safetensors").stat().st_size < 40_000_000
