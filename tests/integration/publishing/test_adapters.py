"""Adapters through the command line: beside the checkpoint, cut only where the cut passed the gates, exported anywhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factd.daemon.app import open_app
from factd.daemon.metrics.adapters import AdapterCollector
from factd.editor.files.folders import sha256_file
from factd.editor.files.manifests import read_manifest
from support.terminal import FEED, MODEL, Operator

FILES = ["adapter_config.json", "adapter_model.safetensors"]


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    yield Operator(tmp_path)


def configure(operator: Operator, lines: str, *, gates: str = "") -> None:
    """With a [publish.adapter] of some lines, and some gates."""
    file = operator.folder / "factd.toml"
    text = file.read_text().split("\n[publish.adapter]")[0]
    for line in filter(None, gates.splitlines()):
        name = line.split(" = ")[0]
        text = "\n".join(line if row.startswith(f"{name} = ") else row for row in text.splitlines())
    file.write_text(f"{text}\n[publish.adapter]\n{lines}\n")


def version(operator: Operator, number: int) -> Path:
    return operator.folder / "published" / "versions" / str(number)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rank(operator: Operator) -> dict[str, float]:
    """The series of adapters."""
    app = open_app(operator.folder / "factd.toml")
    found = AdapterCollector.of(app.versions)
    samples = [sample for family in found.collect() for sample in family.samples]
    app.ledger.store.close()
    assert all(sample.labels == {"publisher": "adapter"} for sample in samples)
    return {sample.name: sample.value for sample in samples}


def measurements(operator: Operator, path: str) -> dict[str, float]:
    report = json.loads((operator.folder / "state" / "candidates" / path).read_text())
    return {f"{row['check']} {row['metric']}": row["value"] for row in report["measurements"]}


def test_an_adapter_is_published_with_its_checkpoint_and_exported_as_the_same_bytes(
    operator: Operator,
) -> None:
    configure(operator, "")
    assert rank(operator) == {"factd_adapter_rank": 0, "factd_adapter_rank_max": 512}
    operator.ingest(FEED)
    operator("edit", "--publish")
    adapter = version(operator, 1) / "adapter"
    told = read_manifest(version(operator, 1))["adapter"]
    assert names(adapter) == FILES
    assert (told["rank"], told["written_rank"], told["dtype"]) == (2, 2, "float32")
    assert told["error"] < 1e-6
    assert operator("releases", "verify", "1")["ok"]
    assert rank(operator)["factd_adapter_rank"] == 2
    _exports(operator, adapter)
    operator("rollback", "--to", "0")
    assert names(version(operator, 0) / "adapter") == FILES  # zeros: the base, under the same name
    assert rank(operator)["factd_adapter_rank"] == 0


def _exports(operator: Operator, adapter: Path) -> None:
    out = operator.folder / "out"
    made = operator("export", "1", "--format", "lora", "--out", str(out / "lora"))
    assert operator("releases", "verify", "1", "--folder", str(out / "lora"))["ok"]
    assert made["release"] == 1 and len(made["facts"]) == 2
    for name in FILES:
        assert made["files"][name] == sha256_file(adapter / name)
    small = ("--format", "lora", "--out", str(out / "lora"), "--dtype", "bfloat16")
    assert operator("export", "1", *small)["error"] > 1e-4  # an earlier export is replaced
    whole = operator("export", "1", "--out", str(out / "whole"))  # --format checkpoint
    assert whole["files"]["model.safetensors"] == operator.published()
    base = operator("export", "0", "--format", "checkpoint", "--out", str(out / "base"))
    assert base["files"]["model.safetensors"] == sha256_file(MODEL / "model.safetensors")
    assert read_manifest(out / "base")["made_by"] == "factd export"
    assert all(path.stat().st_nlink == 1 for path in (out / "whole").iterdir())  # its own


def test_an_export_is_refused_with_its_reason(operator: Operator) -> None:
    out = operator.folder / "out"

    def refused(number: str, form: str, *words: str, to: Path = out) -> str:
        return operator.refused("export", number, "--format", form, "--out", str(to), *words)

    operator("rollback", "--to", "0")
    assert "would be zeros; use --format checkpoint" in refused("0", "lora")
    assert "no release 7" in refused("7", "checkpoint")
    for taken in (
        operator.folder / "relations",
        version(operator, 0),
        operator.folder / "factd.toml",
    ):
        assert "was not written by `factd export`" in refused("0", "checkpoint", to=taken)
    assert operator("releases", "verify", "0")["ok"]
    for form, word in (("checkpoint", "--truncate"), ("lora", "--unchecked")):
        wrong = operator.invoke("export", "0", "--format", form, "--out", str(out), word)
        assert wrong.exit_code == 2 and word in wrong.stderr
    assert not out.exists()


def test_a_rank_that_is_too_high_goes_out_only_cut_and_only_where_the_cut_passed_the_gates(
    operator: Operator,
) -> None:
    configure(operator, "max_rank = 1")
    operator.ingest(FEED)
    said = operator.refused("edit", "--publish")
    assert "has rank 2, an adapter may have 1" in said and "previous one still serves" in said
    assert operator("status")["live"]["number"] == 0 and not version(operator, 1).exists()

    configure(operator, "max_rank = 1\ntruncate = true")
    assert "no adapter cut to rank 1 was measured" in operator.refused("releases", "publish", "1")
    _exports_only_unchecked(operator)

    assert operator("edit", "--publish")["release"] == 2  # the same facts, with a cut adapter
    told = read_manifest(version(operator, 2))["adapter"]
    assert (told["rank"], told["written_rank"]) == (2, 1)
    assert names(version(operator, 2) / "adapter") == [*FILES, "proof.json"]  # what it says
    assert all(0.2 < row["error"] < 0.8 for row in told["modules"].values())
    assert rank(operator) == {"factd_adapter_rank": 2, "factd_adapter_rank_max": 1}
    words = ("--format", "lora", "--max-rank", "1", "--truncate")
    again = operator("export", "2", *words, "--out", str(operator.folder / "cut"))
    assert again["truncated_id"] == told["truncated_id"] and "checked" not in again

    whole = measurements(operator, "2/report.json")["drift kl"]
    cut = measurements(operator, "2/adapter/1/report.json")["drift kl"]
    assert cut > 1.05 * whole  # the control: the cut is another update, and is measured as one
    operator("rollback", "--to", "0")
    operator("unfreeze")
    gate = f"kl = {{most = {(whole + cut) / 2}, sample = 1}}"
    configure(operator, "max_rank = 1\ntruncate = true", gates=gate)
    said = operator.refused("edit", "--publish")
    assert "the adapter cut to rank 1 did not pass the gates (drift kl in en is" in said
    assert operator("status")["live"]["number"] == 0


def _exports_only_unchecked(operator: Operator) -> None:
    words = [
        "export",
        "1",
        "--format",
        "lora",
        "--max-rank",
        "1",
        "--out",
        str(operator.folder / "o"),
    ]
    assert "an adapter may have 1" in operator.refused(*words)
    assert "or export it unchecked, with --unchecked" in operator.refused(*words, "--truncate")
    made: Any = operator(*words, "--truncate", "--unchecked")
    assert (made["checked"], made["written_rank"]) == (False, 1)
