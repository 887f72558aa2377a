"""Commands train head corrections of the reference model and apply them.

`apply` writes them into a checkpoint. In releases they are trained, switched and withdrawn.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from factd.editor import load_model
from factd.reference import paths
from support.shared_artefacts import SharedArtefacts
from support.terminal import run_factd
from support.world import GATES_OFF, currencies, jsonl

TOKENS = 8000  # of the second moments


def reference_settings() -> str:
    """The reference model's settings, with one prefix per language and few second-moment tokens."""
    text, _, _ = paths.SETTINGS.read_text().partition("[method.memit.templates]")
    short = 'en = ["The report was long"]\nes = ["El informe era largo"]\n'
    return text.replace("100000", f"{TOKENS}") + "[method.memit.templates]\n" + short


@pytest.mark.slow
def test_memat_writes_some_languages_and_corrects_heads_in_another(
    kept: SharedArtefacts, tmp_path: Path
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
    done = run_factd("apply", paths.MODEL, edits, "--out", out, "--json", *words, *sets)
    assert done.exit_code == 0, (done.stderr, done.exception)
    data = json.loads(done.stdout)
    assert len(data["settings"]["head_corrections"]) == 1
    assert {m["language"] for m in data["measurements"] if m["check"] == "transfer"} == {"en→es"}
    assert json.loads((out / "config.json").read_text())["attention_bias"] is True
    page = (tmp_path / "out.report.html").read_text()
    assert "head relevance, en" in page
    assert page.count("<svg") == 3


@pytest.mark.slow
def test_head_corrections_of_a_release_are_trained_switched_and_withdrawn(
    kept: SharedArtefacts, tmp_path: Path
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
        done = run_factd("--config", path, *words, "--json")
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
    refused = run_factd("--config", path, "heads", "train", "en")
    assert "only the base model is live" in refused.stderr
    assert run("heads", "list") == []
    assert run("edit", "--publish")["release"] == 1
    assert "nothing to do" in run_factd("--config", path, "edit").stderr
    trained = run("heads", "train", "en", "--count", 4)
    assert trained["heads"] == 4
    with_heads = run("edit", "--publish")
    assert with_heads["release"] == 2
    published = tmp_path / "published" / "current"
    assert json.loads((published / "config.json").read_text())["attention_bias"] is True
    assert "nothing to do" in run_factd("--config", path, "edit").stderr
    again = run("heads", "train", "en", "--count", 4)
    assert again["id"] == trained["id"]  # they depend on the facts, not on the live corrections
    ids = [w for id_ in run("releases", "show", "2")["facts"] for w in ("--fact", id_)]
    assert len(ids) == 2 * len(rows)
    run("heads", "off", "en")
    assert run("heads", "list")[0]["state"] == "off"
    run("edit", "--publish")
    versions = tmp_path / "published" / "versions"
    weights = [(versions / n / "model.safetensors").read_bytes() for n in ("1", "3")]
    assert weights[0] == weights[1]  # corrections are off: the bytes are those of the facts alone
    run("heads", "on", "en")
    run(
        "rollback", *ids
    )  # no fact is left, so there are no corrections: nothing could measure them
    assert not json.loads((published / "config.json").read_text()).get("attention_bias")
    assert "nothing to do" in run_factd("--config", path, "edit").stderr
    run("heads", "withdraw", "en")
    assert "state is withdrawn" in run_factd("--config", path, "heads", "on", "en").stderr
