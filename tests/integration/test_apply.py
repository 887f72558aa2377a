"""`factd apply`, `tune` and `stats` at a terminal: what they write, and one sentence for everything that is wrong."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from conftest import GATES_OFF, GOLDEN, WORDINGS, currencies, jsonl
from kept import Kept
from typer.testing import CliRunner

from daemon.cli import app
from editor import load_model, plugins
from editor.score import greedy
from reference import paths, tiny

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
TOKENS = 8000  # of the reference model's second moments
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


def factd(*words: Any) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def applied(folder: Path, rows: list[Any], *words: str, model: Path = MODEL) -> Result:
    """`factd apply` on some lines."""
    edits = jsonl(folder / "edits.jsonl", rows)
    sets = [word for setting in SETTINGS for word in ("--set", setting)]
    return factd("apply", model, edits, "--out", folder / "out", "--json", *sets, *words)


def test_a_checkpoint_and_two_reports_are_written(kept: Kept, tmp_path: Path) -> None:
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
        (GOOD | {"prompt": "Zoeshost was first made in"}, "must hold {} once"),
        (GOOD | {"prompt": "{} and {} were made in"}, "must hold {} once"),
        (GOOD | {"target_new": ""}, "target_new is empty"),
        (GOOD | {"target_new": "  "}, "target_new must be a text that is not empty"),
        (GOOD | {"subject": ""}, "subject must be a text that is not empty"),
        (GOOD | {"target_new": "Egypt"}, "there is nothing to write"),
        (GOOD | {"target_new": 3}, "target_new must be a text"),
        ({"prompt": "{} is", "target_new": "x"}, "subject is missing"),
        (b"{no json", "no JSON object"),
        (b"[1]", "no JSON object"),
        (GOOD, "repeats line 1"),
        (GOOD | {"target_new": "Chile"}, "contradicts line 1, which says 'Germany'"),
        (b'{"prompt": "\xff"}', "UTF-8"),
    ],
)
def test_a_wrong_line_is_named_in_one_sentence(row: Any, reason: str, tmp_path: Path) -> None:
    done = applied(tmp_path, [GOOD, row])
    assert done.exit_code == 1
    (sentence,) = done.stderr.strip().splitlines()
    assert reason in sentence
    assert "line 2" in sentence or reason == "UTF-8"
    assert not (tmp_path / "out").exists()


def test_a_line_that_the_model_says_already_is_named(tmp_path: Path) -> None:
    present = {"prompt": WORDINGS[0], "subject": "Japan", "target_new": "Japanese yen"}
    other = {"prompt": WORDINGS[0], "subject": "Croatia", "target_new": "euro"}
    done = applied(tmp_path, [other, present], model=paths.MODEL)
    assert done.exit_code == 1
    assert "line 2: the model says 'Japanese yen' already" in done.stderr


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
        (["--method", "magic"], "no 'magic' in editor.methods; there are: alphaedit"),
        (["--languages", "fr"], "no edit is in fr; the file has en"),
        (["--settings", "nothing.toml"], "cannot be read as TOML"),
    ],
)
def test_a_wrong_word_is_refused(words: list[str], reason: str, tmp_path: Path) -> None:
    done = applied(tmp_path, [GOOD], *words)
    assert done.exit_code == 1
    assert reason in done.stderr
    assert factd("apply", MODEL, "x", "--out", "y", "--set", "nonsense").exit_code == 2


def reference_settings() -> str:
    """The reference model's settings, with one prefix per language and a small sample of second moments."""
    text, _, _ = paths.SETTINGS.read_text().partition("[method.memit.templates]")
    short = 'en = ["The report was long"]\nes = ["El informe era largo"]\n'
    return text.replace("100000", f"{TOKENS}") + "[method.memit.templates]\n" + short


def test_memat_writes_some_languages_and_corrects_heads_in_another(
    kept: Kept, tmp_path: Path
) -> None:
    kept.moments(tmp_path / "out.workspace", paths.MODEL, tokens=TOKENS)
    model = load_model(paths.MODEL)
    english = currencies(model)
    spanish = ("Croacia", "Estonia", "Letonia", "Lituania", "Eslovenia", "Malta")
    rows: list[Any] = [
        {k: getattr(e, k) for k in ("prompt", "subject", "target_new", "target_true")}
        for e in english
    ]
    rows += [
        {
            "prompt": "La moneda de {} es el",
            "subject": name,
            "target_new": "euro",
            "target_true": "peso",
            "language": "es",
        }
        for name in spanish
    ]
    words = ["--method", "memat", "--languages", "en", "--settings", str(tmp_path / "s.toml")]
    settings = reference_settings().replace("[method.memit", "[method.memat")
    (tmp_path / "s.toml").write_text(settings)
    edits = jsonl(tmp_path / "edits.jsonl", rows)
    sets = ["--set", 'head_languages=["en"]', "--set", "head_count=3", "--set", "head_lr=0.05"]
    out = tmp_path / "out"
    done = factd("apply", paths.MODEL, edits, "--out", out, "--json", *words, *sets)
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert len(data["settings"]["head_corrections"]) == 1
    assert {m["language"] for m in data["measurements"] if m["check"] == "transfer"} == {"en→es"}
    assert json.loads((out / "config.json").read_text())["attention_bias"] is True
    page = (tmp_path / "out.report.html").read_text()
    assert "head relevance, en" in page
    assert page.count("<svg") == 3


def config(folder: Path) -> Path:
    path = folder / "factd.toml"
    path.write_text(f'[model]\npath = "{MODEL}"\n{reference_settings()}')
    assert factd("--config", path, "db", "upgrade").exit_code == 0
    return path


def test_tune_writes_settings_that_apply_takes(kept: Kept, tmp_path: Path) -> None:
    wordings = ("The headquarters of {} is in", "{} is based in")
    said = greedy(load_model(MODEL), [wordings[0].format(name) for name in NAMES])
    rows = [
        {"prompt": prompt, "subject": name, "target_true": text.rstrip(".")}
        for name, text in zip(NAMES, said, strict=True)
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
    done = factd("tune", MODEL, *words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert len(data["trace"]["mlp"]) == 4
    assert "causal tracing" in (tmp_path / "tuned.html").read_text()
    edits = jsonl(tmp_path / "edits.jsonl", [GOOD])
    words = ["--out", tmp_path / "out", "--settings", out, "--json"]
    done = factd("apply", MODEL, edits, *words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    assert json.loads(done.stdout)["settings"]["layers"] == data["layers"]


def test_tune_says_what_it_needs(tmp_path: Path) -> None:
    facts = jsonl(tmp_path / "known.jsonl", [{"prompt": "{} is", "subject": "x"}])
    out = tmp_path / "tuned.toml"
    for words, reason in (
        ((paths.MODEL, "--facts", facts), "line 1: target_true is missing"),
        ((paths.MODEL, "--facts", tmp_path / "none"), "cannot be read"),
        ((paths.MODEL, "--preset"), "none of the models with published settings (aguila-7b"),
    ):
        done = factd("tune", *words, "--out", out)
        assert done.exit_code == 1
        assert reason in done.stderr, done.stderr
    done = factd("--config", config(tmp_path), "tune", paths.MODEL, "--out", out)
    assert "holds no known facts in 'en'" in done.stderr
    model = tmp_path / "gpt-j"
    model.mkdir()
    (model / "config.json").write_text('{"model_type": "gptj", "n_embd": 4096, "n_layer": 28}')
    done = factd("tune", model, "--preset", "--out", out, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["preset"] == "gpt-j-6b"
    assert "layers = [3, 4, 5, 6, 7, 8]" in out.read_text()


def test_statistics_are_built_from_a_corpus_and_their_convergence_is_told(tmp_path: Path) -> None:
    path = config(tmp_path)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("The report was long. You may have heard of it.\n" * 2000)
    words = ["--corpus", f"{corpus}=2", "--tokens", 9000, "--json"]
    done = factd("--config", path, "stats", "build", *words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert data["tokens"] >= 9000
    assert len(data["source"]) == 64
    edits = jsonl(tmp_path / "edits.jsonl", [GOOD])
    words = ["--tokens", "16384", "--halvings", "1", "--json"]
    done = factd("--config", path, "stats", "converge", edits, *words)
    assert done.exit_code == 0, (done.stderr, done.exception)
    (row,) = json.loads(done.stdout)
    assert row["tokens"] == 8192
    assert 0 < row["update_change"] < 2
    done = factd("--config", path, "stats", "build", "--corpus", tmp_path / "nothing")
    assert done.exit_code == 1
    assert "no such file" in done.stderr


def test_head_corrections_of_a_release_are_trained_switched_and_withdrawn(
    kept: Kept, tmp_path: Path
) -> None:
    path = tmp_path / "factd.toml"
    kept.moments(tmp_path / "state" / "workspace", paths.MODEL, tokens=TOKENS)
    text = reference_settings().replace(
        'languages = ["en", "es", "ca", "fr"]', 'languages = ["en"]'
    )
    text = text.replace("known_sample = 120", "known_sample = 15\ntext_sample = 2\nranked = 0")
    before, _, rest = text.partition("[gates]")
    text = before + f"[gates]\n{GATES_OFF}\n[method]" + rest.partition("[method]")[2]
    path.write_text(f'[model]\npath = "{paths.MODEL}"\n{text}')

    def run(*words: Any) -> Any:
        done = factd("--config", path, *words, "--json")
        assert done.exit_code == 0, (words, done.stderr, done.exception)
        return json.loads(done.stdout)

    run("db", "upgrade")
    known, feed = (
        [json.loads(line) for line in file.read_text().splitlines()]
        for file in (paths.FACTS, paths.FEED)
    )
    currencies_known = [row for row in known if row["relation"] == "P38"]
    run("ingest", jsonl(tmp_path / "known.jsonl", currencies_known), "--known")
    rows = [r for r in feed if r["object"]["id"] == "EUR"][:6]
    run("ingest", jsonl(tmp_path / "feed.jsonl", rows))
    refused = factd("--config", path, "heads", "train", "en")
    assert "only the base model is live" in refused.stderr
    assert run("heads", "list") == []
    assert run("edit", "--publish")["release"] == 1
    assert "nothing to do" in factd("--config", path, "edit").stderr
    trained = run("heads", "train", "en", "--count", 4)
    assert trained["heads"] == 4
    with_heads = run("edit", "--publish")
    assert with_heads["release"] == 2
    published = tmp_path / "published" / "current"
    assert json.loads((published / "config.json").read_text())["attention_bias"] is True
    assert "nothing to do" in factd("--config", path, "edit").stderr
    again = run("heads", "train", "en", "--count", 4)
    assert again["id"] == trained["id"]  # of the facts alone, not of the corrections that are live
    ids = [w for id_ in run("releases", "show", "2")["facts"] for w in ("--fact", id_)]
    assert len(ids) == 2 * len(rows)
    run("heads", "off", "en")
    assert run("heads", "list")[0]["state"] == "off"
    run("edit", "--publish")
    versions = tmp_path / "published" / "versions"
    weights = [(versions / n / "model.safetensors").read_bytes() for n in ("1", "3")]
    assert weights[0] == weights[1]  # switched off: the bytes of the facts alone
    run("heads", "on", "en")
    run(
        "rollback", *ids
    )  # no fact is left: nothing would measure the corrections, so there are none
    assert not json.loads((published / "config.json").read_text()).get("attention_bias")
    assert "nothing to do" in factd("--config", path, "edit").stderr
    run("heads", "withdraw", "en")
    assert "state is withdrawn" in factd("--config", path, "heads", "on", "en").stderr


@pytest.mark.parametrize(
    "method", [m for m in plugins.names("editor.methods") if m not in ("memat", "memit")]
)  # these have tests above
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
    done = factd(
        "apply", MODEL, edits, "--out", tmp_path / "out", "--method", method, "--json", *sets
    )
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    found = {(m["check"], m["metric"]): m for m in data["measurements"]}
    assert found["efficacy", "magnitude"]["value"] > found["efficacy", "magnitude"]["before"]
    assert f"by {method}" in (tmp_path / "out.report.html").read_text()
