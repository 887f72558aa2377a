"""The benchmarks run, count correctly and name their machine; the figures are not asserted."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM
from typer.testing import CliRunner

from factd.bench.commands import bench_app
from factd.bench.measure import count_operations, document, short_text, text_table
from factd.bench.operations import console
from factd.bench.quality.world import WORKSPACE
from factd.bench.speed import gpu
from factd.reference import paths
from support.paths import ROOT
from support.shared_artefacts import SharedArtefacts


def bench(*words: str) -> dict[str, Any]:
    result = CliRunner().invoke(bench_app, [*words, "--json"])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert {"device", "torch", "transformers", "command", "date"} <= set(found)
    return found


def test_operations_of_a_product_are_counted() -> None:
    a, b = torch.randn(30, 20), torch.randn(20, 10)
    assert count_operations(lambda: a @ b) == 2 * 30 * 20 * 10


def test_a_table_is_aligned_and_its_numbers_are_short() -> None:
    rows = [{"rung": "public", "s": 0.73456, "x": None}, {"rung": "ours", "s": 1234.5, "x": 2}]
    assert text_table(rows).splitlines() == [
        "rung        s  x",
        "public  0.735   ",
        "ours     1234  2",
    ]
    assert short_text(True) == "True"
    assert document("edit", "cpu", rows, speedup=2.0)["speedup"] == 2.0


@pytest.mark.slow
def test_probes_are_answered_as_by_the_plain_way() -> None:
    found = bench("probes", "--probes", "24")
    plain, ours = found["rows"][:2]
    assert plain["same answers"] is None
    assert ours["same answers"] == 1.0
    assert 0.3 < ours["in the model"] <= 1.0


@pytest.mark.slow
def test_the_solve_is_resumed_to_the_same_bytes_and_added_to(kept: SharedArtefacts) -> None:
    kept.moments(WORKSPACE, paths.MODEL, tokens=8000)
    found = bench("solve", "--rows", "100", "--tokens", "8000")
    _, resumed, added, without = found["rows"]
    assert resumed["difference"] == 0.0
    assert 0 < added["difference"] < without["difference"]
    assert found["peak_mib_above_start"] < found["bound_mib"]


@pytest.mark.slow
def test_the_gpu_script_runs_on_the_cpu_at_a_tiny_size(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    words = ["--shapes", "tiny", "--device", "cpu", "--edits", "2", "--tokens", "2000"]
    done = subprocess.run(
        ["sh", "bench/gpu.sh", str(out), *words],
        cwd=ROOT,
        env={"PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert [row["stage"].split(",")[0] for row in found["rows"]] == [
        "values",
        "keys of a layer",
        "solve of a layer",
        "probes",
        "second moments",
    ]
    assert all(row["seconds"] > 0 for row in found["rows"])


def test_every_shape_of_the_gpu_script_is_a_model_of_its_family() -> None:
    sizes = {}
    for name, (kind, values, layers) in gpu.SHAPES.items():
        config = CONFIG_MAPPING[kind](**values)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        sizes[name] = sum(p.numel() for p in model.parameters()) / 1e9
        assert max(layers) < config.num_hidden_layers
    assert sizes["gptj-6b"] == pytest.approx(6.05, abs=0.05)
    assert sizes["llama-3-8b"] == pytest.approx(8.03, abs=0.05)


@pytest.mark.slow
def test_every_rung_computes_the_values_of_public_memit() -> None:
    found = bench("edit", "--edits", "6")
    assert len(found["rows"]) == 7
    assert all(row["z > 1e-4"] == 0 and row["z median"] < 1e-5 for row in found["rows"][1:5])
    assert found["speedup"] == found["rows"][-1]["faster"]


@pytest.mark.slow
def test_scale_and_stats_print_their_rows() -> None:
    assert [row["edits"] for row in bench("scale", "--edits", "100")["rows"]] == [100]
    assert [row["tokens per dimension"] for row in bench("stats", "--edits", "8")["rows"]][-1] == 2


@pytest.mark.slow
def test_shards_that_are_touched_are_those_that_are_rewritten() -> None:
    found = bench("shards", "--gib", "0.02")
    assert [row["shards rewritten"] for row in found["rows"]] == [1, 4, 16, 40]
    assert not list(WORKSPACE.glob("shards-*"))


def test_the_console_answers_on_a_filled_store() -> None:
    found = console.run(facts=2000, releases=3, times=3)
    asked = {row["asked"] for row in found["rows"]}
    assert {"/", "/facts?q=S1234", "/api/v1/overview", "factd status, the whole process"} <= asked
    assert all(row["median ms"] > 0 for row in found["rows"])
