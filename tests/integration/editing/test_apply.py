"""`factd apply`, `tune` and `stats` at a terminal: their files, and one sentence for each error."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from factd.editor import load_model, plugins
from factd.editor.scoring.score import greedy_answers
from factd.reference import paths, tiny
from support.paths import GOLDEN
from support.shared_artefacts import SharedArtefacts
from support.terminal import run_factd
from support.world import WORDINGS, jsonl

GOOD = {
    "prompt": "{} was first made in",
    "subject": "Zoeshost",
    "target_new": "Germany",
    "target_true": "Egypt",
}
SETTINGS = (
    "layers=[0,1,2]",
    "second_moment_weight=30",
    "v_lr=0.3",
    "second_moment_tokens=3000",
    "terminator=.",
)
MODEL = GOLDEN / "llama" / "model"
CONFIG = f"""
[model]
path = "{MODEL}"
[method.memit]
layers = [0, 1, 2]
second_moment_weight = 30.0
v_lr = 0.3
terminator = "."
[method.memit.templates]
en = ["The report was long"]
"""
NAMES = (
    "Zoeshost",
    "Kagle Clahal",
    "Braqui Seldor",
    "Gargle Wilhal",
    "Drelu Selost",
    "Seljen Quilu",
    "Uloburjen Corp",
    "Halwil Ulogles",
    "Glezomi Corp",
    "The Blue Crown",
)


def applied(folder: Path, rows: list[Any], *words: str, model: Path = MODEL) -> Result:
    """Run `factd apply` on some lines."""
    folder.mkdir(exist_ok=True)
    edits = jsonl(folder / "edits.jsonl", rows)
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    return run_factd("apply", model, edits, "--out", folder / "out", "--json", *sets, *words)


def test_a_checkpoint_and_two_reports_are_written(kept: SharedArtefacts, tmp_path: Path) -> None:
    kept.moments(tmp_path / "out.workspace", MODEL, tokens=3000)
    done = applied(tmp_path, [GOOD])
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    found = {(m["check"], m["metric"]): m for m in data["measurements"]}
    magnitude = found["efficacy", "magnitude"]
    assert magnitude["value"] > magnitude["before"]
    assert data["reload_error"] < 1e-5
    assert (tmp_path / "out" / "model.safetensors").is_file()
    assert json.loads((tmp_path / "out.report.json").read_text())["delta_id"] == data["delta_id"]
    page = (tmp_path / "out.report.html").read_text()
    assert page.count("<svg") == 2
    assert "Zoeshost was first made in" in page
    assert "by memit" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")
    again = applied(tmp_path, [GOOD])
    assert again.exit_code == 1
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (GOOD | {"prompt": "Zoeshost was first made in"}, "line 1: the prompt must hold {} once"),
        (b"{no json", "is not JSON"),
        (b'{"prompt": "\xff"}', "UTF-8"),
        ({"question": "?"}, "looks like no known format; choose one with --format: bmike"),
    ],
)
def test_a_file_without_a_good_line_is_refused_in_one_sentence(
    row: Any, reason: str, tmp_path: Path
) -> None:
    done = applied(tmp_path, [row])
    assert done.exit_code == 1
    (sentence,) = done.stderr.strip().splitlines()
    assert reason in sentence
    assert not (tmp_path / "out").exists()


def test_bad_lines_and_what_the_model_says_already_are_skipped_and_listed(
    kept: SharedArtefacts, tmp_path: Path
) -> None:
    kept.moments(tmp_path / "out.workspace", MODEL, tokens=3000)
    prompt = WORDINGS[0].format("Zoeshost")
    says = greedy_answers(load_model(MODEL), [prompt])[0].strip(" .")
    present = {"prompt": WORDINGS[0], "subject": "Zoeshost", "target_new": says}
    rows = [GOOD, b"{no json", present, GOOD | {"target_new": "Chile"}]
    done = applied(tmp_path, rows, "--format", "factd")
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert data["edits"] == 1
    assert data["format"] == "factd"
    reasons = {row["place"]: row["reason"] for row in data["skipped"]}
    assert reasons == {
        "line 2": "not a JSON object (Expecting property name enclosed in double quotes at "
        "column 2)",
        "line 3": f"the model says {says!r} already",
        "line 4": "it contradicts line 1, which says 'Germany'",
    }
    assert "already" in (tmp_path / "out.report.html").read_text()
    again = applied(tmp_path / "only", [present])
    assert again.exit_code == 1
    assert f"nothing is left to write: line 1: the model says {says!r} already" in again.stderr


def test_benchmark_records_are_written_up_to_a_limit_and_asked_their_own_questions(
    kept: SharedArtefacts, tmp_path: Path
) -> None:
    kept.moments(tmp_path / "out.workspace", MODEL, tokens=3000)
    rows = [
        {
            "requested_rewrite": {
                "prompt": GOOD["prompt"],
                "subject": name,
                "target_new": {"str": "Germany"},
                "target_true": {"str": "Egypt"},
            },
            "paraphrase_prompts": [f"It rained. {name} was made in"],
            "neighborhood_prompts": [f"{other} was first made in"],
        }
        for name, other in (("Zoeshost", "Kagle Clahal"), ("Kagle Clahal", "Zoeshost"), ("Q", "R"))
    ]
    data_file = tmp_path / "data.json"
    data_file.write_text(json.dumps(rows))
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["--out", tmp_path / "out", "--json", "--limit", 2]
    done = run_factd("apply", MODEL, data_file, *words, *sets)
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert (data["edits"], data["format"]) == (2, "counterfact")
    asked = {m["check"]: m["sample_size"] for m in data["measurements"]}
    assert (asked["efficacy"], asked["paraphrase"]) == (2, 2)
    assert "neighbourhood" not in asked  # each neighbour is what the other record edits
    assert {fact["fact"] for fact in data["facts"]} == {"record 1", "record 2"}


def test_what_is_no_model_or_cannot_be_edited_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = applied(tmp_path, [GOOD], model=tmp_path / "empty")
    assert done.exit_code == 1
    assert "is no model" in done.stderr
    slow = tmp_path / "slow"
    shutil.copytree(MODEL, slow)
    (slow / "tokenizer.json").unlink()
    (slow / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    done = applied(tmp_path, [GOOD], model=slow)
    assert done.exit_code == 1
    assert "slow tokenizer" in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--set", "v_lrr=1"], "unknown setting"),
        (["--set", "layers=[99]"], "the model has blocks"),
        (["--method", "magic"], "no 'magic' in factd.editor.methods; there are: alphaedit"),
        (["--languages", "fr"], "no edit is in fr; the file has en"),
        (["--settings", "nothing.toml"], "cannot be read as TOML"),
    ],
)
def test_a_wrong_word_is_refused(words: list[str], reason: str, tmp_path: Path) -> None:
    done = applied(tmp_path, [GOOD], *words)
    assert done.exit_code == 1
    assert reason in done.stderr
    assert run_factd("apply", MODEL, "x", "--out", "y", "--set", "nonsense").exit_code == 2


def config(folder: Path) -> Path:
    path = folder / "factd.toml"
    path.write_text(CONFIG)
    assert run_factd("--config", path, "db", "upgrade").exit_code == 0
    return path


@pytest.mark.slow
def test_tune_writes_settings_that_apply_takes(kept: SharedArtefacts, tmp_path: Path) -> None:
    wordings = ("The headquarters of {} is in", "{} is based in")
    names = (*NAMES, "Apple", "Lego", "Sony", "Fiat", "Renault")  # it says whole words of these
    said = greedy_answers(load_model(MODEL), [wordings[0].format(name) for name in names])
    rows = [
        {"prompt": prompt, "subject": name, "target_true": text.rstrip(".")}
        for name, text in zip(names, said, strict=True)
        for prompt in wordings
    ]
    facts = jsonl(tmp_path / "known.jsonl", rows)
    given = tmp_path / "given.toml"
    given.write_text(
        "[method.memit]\nv_num_grad_steps = 3\nsecond_moment_tokens = 3000\n"
        '[method.memit.templates]\nen = ["The report was long"]\n'
    )
    out = tmp_path / "tuned.toml"
    kept.moments(tmp_path / "tuned.toml.workspace", MODEL, tokens=3000, layers=range(4))
    words = ["--facts", facts, "--out", out, "--settings", given, "--edits", 4, "--json"]
    done = run_factd("tune", MODEL, *words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert len(data["trace"]["mlp"]) == 4
    assert "causal tracing" in (tmp_path / "tuned.html").read_text()
    edits = jsonl(tmp_path / "edits.jsonl", [GOOD])
    words = ["--out", tmp_path / "out", "--settings", out, "--json"]
    done = run_factd("apply", MODEL, edits, *words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert json.loads(done.stdout)["settings"]["layers"] == data["layers"]


def test_tune_says_what_it_needs(tmp_path: Path) -> None:
    facts = jsonl(tmp_path / "known.jsonl", [{"prompt": "{} is", "subject": "x"}])
    out = tmp_path / "tuned.toml"
    for words, reason in (
        ((paths.MODEL, "--facts", facts), "line 1: target_true is missing"),
        ((paths.MODEL, "--facts", tmp_path / "none"), "cannot be read"),
        ((paths.MODEL, "--preset"), "has no published settings (there are some for aguila-7b"),
    ):
        done = run_factd("tune", *words, "--out", out)
        assert done.exit_code == 1
        assert reason in done.stderr, done.stderr
    done = run_factd("--config", config(tmp_path), "tune", paths.MODEL, "--out", out)
    assert "holds no known facts in 'en'" in done.stderr
    model = tmp_path / "gpt-j"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "gptj", "n_embd": 4096, "n_layer": 28}')
    done = run_factd("tune", model, "--preset", "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["preset"] == "gpt-j-6b"
    assert "layers = [3, 4, 5, 6, 7, 8]" in out.read_text()


def test_statistics_are_built_from_a_corpus_and_their_convergence_is_told(tmp_path: Path) -> None:
    path = config(tmp_path)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The report was long. You may have heard of it.\n" * 2000)
    words = ["--corpus", f"{corpus}=2", "--tokens", 9000, "--json"]
    done = run_factd("--config", path, "stats", "build", *words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert data["tokens"] >= 9000
    assert len(data["source"]) == 64
    edits = jsonl(tmp_path / "edits.jsonl", [GOOD])
    words = ["--tokens", "16384", "--halvings", "1", "--json"]
    done = run_factd("--config", path, "stats", "converge", edits, *words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    (row,) = json.loads(done.stdout)
    assert row["tokens"] == 8192
    assert 0 < row["update_change"] < 2
    done = run_factd("--config", path, "stats", "build", "--corpus", tmp_path / "nothing")
    assert done.exit_code == 1
    assert "no such file" in done.stderr


OTHERS = [m for m in plugins.names("factd.editor.methods") if m not in ("memat", "memit")]
QUICK = ("rome", "fine_tuning")  # one that writes values, one that trains; each takes a process


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=() if m in QUICK else pytest.mark.slow) for m in OTHERS]
)
def test_apply_takes_every_method(method: str, tmp_path: Path) -> None:
    edits = jsonl(tmp_path / "edits.jsonl", [GOOD])
    table = {
        **tiny.SETTINGS[method],
        "layers": [1],
        "templates": None,
        "second_moment_tokens": 2000,
    }
    if method == "fine_tuning":
        del table["second_moment_tokens"]
    sets = [w for k, v in table.items() if v is not None for w in ("--set", f"{k}={v}")]
    done = run_factd(
        "apply", MODEL, edits, "--out", tmp_path / "out", "--method", method, "--json", *sets
    )
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    found = {(m["check"], m["metric"]): m for m in data["measurements"]}
    assert found["efficacy", "magnitude"]["value"] > found["efficacy", "magnitude"]["before"]
    assert f"by {method}" in (tmp_path / "out.report.html").read_text()
