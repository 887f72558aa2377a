"""Commands on a model that nobody tuned: the settings are found, told, kept and stay the same."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.editing.settings import tunings_folder
from factd.editor.models.model import fingerprint
from factd.editor.tuning.kept import KeptTuning, KeptTunings
from factd.reference import paths
from support.paths import GOLDEN
from support.shared_artefacts import SharedArtefacts
from support.terminal import FEED, TOKENS, Operator, run_factd, update
from support.world import WORDINGS, jsonl

MODEL = GOLDEN / "llama" / "model"
GOOD = {"prompt": "{} was first made in", "subject": "Zoeshost", "target_new": "Germany"}
FOUND: dict[str, Any] = {
    "layers": [0, 1, 2],
    "v_lr": 0.3,
    "v_num_grad_steps": 20,
    "v_weight_decay": 0.1,
    "second_moment_weight": 30.0,
    "second_moment_tokens": TOKENS,
}


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> KeptTunings:
    """An empty cache of the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return KeptTunings(tunings_folder())


def keep(cache: KeptTunings, model: Path, **more: Any) -> Path:
    found = KeptTuning(
        fingerprint=fingerprint(model),
        method="memit",
        source="factd tune, 3 trials, 2026-11-27",
        settings={**FOUND, **more},
    )
    return cache.save(found)


def test_apply_takes_the_kept_tuning_of_the_model_and_says_so(
    cache: KeptTunings, kept: SharedArtefacts, tmp_path: Path
) -> None:
    keep(cache, MODEL)
    kept.moments(tmp_path / "out.workspace", MODEL, tokens=TOKENS)
    edits = jsonl(tmp_path / "edits.jsonl", [GOOD])
    words = ["apply", MODEL, edits, "--out", tmp_path / "out", "--set", "v_num_grad_steps=3"]
    done = run_factd(*words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    source = "--set, over the kept tuning: factd tune, 3 trials, 2026-11-27"
    assert f"settings from {source}" in done.stdout.splitlines()
    data = json.loads((tmp_path / "out.report.json").read_text())
    assert data["settings_source"] == source
    assert data["settings"]["layers"] == FOUND["layers"]
    assert data["settings"]["v_num_grad_steps"] == 3
    assert source in (tmp_path / "out.report.html").read_text()


def test_a_model_that_knows_no_common_fact_is_refused_with_what_to_do(tmp_path: Path) -> None:
    edits = jsonl(tmp_path / "edits.jsonl", [GOOD])
    words = ["apply", MODEL, edits, "--out", tmp_path / "out", "--minutes", "0.1"]
    done = run_factd(*words)
    assert done.exit_code == 1
    sentence = done.stderr.strip().splitlines()[-1]
    assert "there are no settings for" in sentence
    assert "--facts FILE" in sentence
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_apply_searches_settings_in_bounded_time_and_keeps_them(
    cache: KeptTunings, kept: SharedArtefacts, tmp_path: Path
) -> None:
    kept.moments(tmp_path / "out.workspace", paths.MODEL, tokens=8000)
    edit = {"prompt": WORDINGS[0], "subject": "Croatia", "target_new": "euro"}
    edits = jsonl(tmp_path / "edits.jsonl", [edit])
    words = ["apply", paths.MODEL, edits, "--out", tmp_path / "out", "--minutes", "0.1", "--json"]
    done = run_factd(*words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert data["settings_source"].startswith("a search just now: factd tune, ")
    read = cache.read(fingerprint(paths.MODEL), "memit")
    assert read is not None
    assert list(read.settings["layers"]) == data["settings"]["layers"]
    stages = {line.split("stage=")[1].split(" total")[0] for line in stages_of(done.stderr)}
    assert {"'loading the model'", "'causal tracing'", "search"} <= stages


def stages_of(log: str) -> list[str]:
    return [line for line in log.splitlines() if "stage=" in line]


def test_init_writes_what_is_known_of_the_model_or_says_what_to_run(
    cache: KeptTunings, tmp_path: Path
) -> None:
    unknown = run_factd("init", tmp_path / "a", "--model", MODEL)
    assert "no settings are known" in unknown.stdout and "factd tune" in unknown.stdout
    table = tomllib.loads((tmp_path / "a" / "factd.toml").read_text())["method"]["memit"]
    assert table == {"terminator": "."}
    keep(cache, MODEL)
    known = run_factd("init", tmp_path / "b", "--model", MODEL)
    assert "settings from the kept tuning: factd tune, 3 trials, 2026-11-27" in known.stdout
    text = (tmp_path / "b" / "factd.toml").read_text()
    assert "These come from the kept tuning: factd tune, 3 trials" in text
    assert tomllib.loads(text)["method"]["memit"] == {"terminator": ".", **FOUND}


def untuned_site(folder: Path) -> Operator:
    """A site whose configuration leaves out layers and strength."""
    operator = Operator(folder)
    path = folder / "factd.toml"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(x for x in lines if x.partition(" =")[0] not in FOUND))
    return operator


def test_a_site_pins_the_settings_that_it_finds(cache: KeptTunings, tmp_path: Path) -> None:
    site = untuned_site(tmp_path / "site")
    checked = site.invoke("config", "check")
    assert "the first `factd edit` finds the rest" in checked.stdout
    refused = site.refused("stats", "build")
    assert "gives no layers and no second_moment_weight; `factd edit` finds" in refused
    kept_path = keep(cache, MODEL)
    site.ingest(FEED[:1])
    first = site("edit", "--publish")
    pinned = list((site.folder / "state" / "workspace" / "tunings").glob("*/memit.toml"))
    assert len(pinned) == 1
    assert "is completed by pinned settings" in site.invoke("config", "check").stdout

    keep(cache, MODEL, v_lr=0.001)  # another tuning of the model does not reach the site
    site.ingest(FEED[1:], "more.jsonl")
    second = site("edit", "--publish")
    assert settings_of(site, first) == settings_of(site, second)
    assert settings_of(site, first)["v_lr"] == FOUND["v_lr"]

    pinned[0].unlink()  # lost: the live release knows them
    kept_path.unlink()
    site.ingest([update("Braqui Seldor", "Chile", "2022-01-01")], "third.jsonl")
    third = site("edit")
    assert settings_of(site, third)["v_lr"] == FOUND["v_lr"]
    assert 'source = "release 2"' in pinned[0].read_text()

    pinned[0].write_text("damaged [")
    assert "restore it from a backup" in site.refused("config", "check")


def settings_of(site: Operator, edited: dict[str, Any]) -> Any:
    """The settings that a candidate's delta was computed with."""
    folder = site.folder / "state" / "candidates" / str(edited["candidate"]) / "delta"
    return json.loads((folder / "manifest.json").read_text())["settings"]
