"""The bench of record on the tiny golden model, with records in CounterFact's format."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from factd.bench.commands import bench_app
from factd.bench.public.curves import GAINS
from support.paths import GOLDEN

FACTS = (  # what the tiny model says, and what it is to say
    ("{} is a native speaker of", "Braqui Seldor", "English", "Turkish"),
    ("{} was first made in", "Zoeshost", "Egypt", "Germany"),
    ("{} has citizenship of", "Kagle Clahal", "Germany", "France"),
    ("The occupation of {} is", "Drelu Selost", "sculptor", "journalist"),
    ("The first language of {} is", "Seljen Quilu", "German", "Swahili"),
    ("{} is a band known for", "Halwil Ulogles", "rock", "opera"),
    ("The headquarters of {} is in", "Glezomi Corp", "Santiago", "Paris"),
    ("The original language of {} is", "The Blue Crown", "Polish", "French"),
)
WORDS = (
    *("--method", "memit", "--method", "public-memit", "--method", "public-alphaedit"),
    *("--method", "fine_tuning", "--method", "in-context"),
    *(
        "--set",
        "layers=[0,1,2]",
        "--set",
        "clamp_norm_factor=4.0",
        "--set",
        "v_lr=0.5",
        "--set",
        "v_num_grad_steps=20",
    ),
    *("--set", "v_weight_decay=0.001", "--set", "second_moment_tokens=3000"),
    *("--set", 'templates={en=["The report was long"]}', "--set", "fine_tuning.epochs=2"),
    *("--strength", "memit.second_moment_weight=[1.0,300.0]"),
    *("--strength", "public-memit.second_moment_weight=[1.0,300.0]"),
    *("--strength", "public-alphaedit.nullspace_threshold=[0.5]"),
    *("--strength", "fine_tuning.lr=[0.003]"),
    *("--count", "4", "--bystanders", "6"),
)


def record(number: int, prompt: str, subject: str, old: str, new: str) -> dict[str, Any]:
    return {
        "case_id": number,
        "requested_rewrite": {
            "prompt": prompt,
            "subject": subject,
            "relation_id": f"P{number}",
            "target_true": {"str": old},
            "target_new": {"str": new},
        },
        "paraphrase_prompts": [f"It is said that {prompt.format(subject)}"],
        "neighborhood_prompts": [prompt.format(other) for _, other, *_ in FACTS[:3]],
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "records.json"
    path.write_text(json.dumps([record(n, *fact) for n, fact in enumerate(FACTS)]))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


def measured(data: Path, folder: Path, *more: str) -> dict[str, Any]:
    model = str(GOLDEN / "llama" / "model")
    out = folder / "public.json"
    words = ["public", "--model", model, "--data", str(data), "--folder", str(folder)]
    result = CliRunner().invoke(bench_app, [*words, *WORDS, *more, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "public-alphaedit" in result.output
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def found(data: Path, folder: Path) -> dict[str, Any]:
    return measured(data, folder, "--plot", str(folder / "public.png"))


def line(found: dict[str, Any], method: str, value: float | None = None) -> dict[str, Any]:
    same = [x for x in found["figures"] if x["method"] == method and value in (None, x["value"])]
    assert len(same) == 1
    return dict(same[0])


def test_every_method_has_a_row_for_each_strength(found: dict[str, Any]) -> None:
    assert [(row["method"], row["strength"]) for row in found["rows"]] == [
        ("base", None),
        ("memit", 1.0),
        ("memit", 300.0),
        ("public-memit", 1.0),
        ("public-memit", 300.0),
        ("public-alphaedit", 0.5),
        ("fine_tuning", 0.003),
        ("in-context", None),
    ]
    assert found["edits"] == [4]
    assert found["complete"] is True


def test_the_base_model_gives_the_old_objects_and_all_bystanders(found: dict[str, Any]) -> None:
    base = line(found, "base")
    assert base["measures"]["edit right"]["value"] == 0.0
    assert base["measures"]["bystanders right"]["value"] == 1.0
    assert base["perplexity_ratio"]["value"] == 1.0
    assert base["kl"]["value"] == 0.0


def test_public_memit_writes_what_factd_writes_with_the_same_settings(
    found: dict[str, Any],
) -> None:
    ours, public = (line(found, name, 1.0) for name in ("memit", "public-memit"))
    written, before = (
        x["measures"]["edit magnitude"]["value"] for x in (ours, line(found, "base"))
    )
    assert written > before + 0.3
    for weight, ratio in ours["norm_ratios"].items():
        assert ratio == pytest.approx(public["norm_ratios"][weight], rel=1e-3)
    assert ours["measures"]["edit magnitude"]["value"] == pytest.approx(
        public["measures"]["edit magnitude"]["value"], abs=1e-3
    )


def test_a_larger_second_moment_weight_changes_less(found: dict[str, Any]) -> None:
    strong, weak = line(found, "memit", 1.0), line(found, "memit", 300.0)
    assert max(strong["norm_ratios"].values()) > max(weak["norm_ratios"].values())
    assert strong["kl"]["value"] > weak["kl"]["value"] > 0


def test_in_context_changes_no_weight(found: dict[str, Any]) -> None:
    row = line(found, "in-context")
    assert row["norm_ratios"] == {}
    assert row["kl"] is None
    assert row["extra_tokens"] > 3


def test_each_edit_is_timed_in_every_row(found: dict[str, Any]) -> None:
    timed = {x["method"]: x["seconds_per_edit"] for x in found["figures"]}
    assert all(timed[name] > 0 for name in timed if name not in ("base", "in-context"))
    assert all(x["peak_mib"] > 0 for x in found["figures"] if x["method"].startswith("public"))


def test_methods_are_compared_at_one_neighbourhood_success(found: dict[str, Any]) -> None:
    assert {r["method"] for r in found["comparison"]} <= {"memit", "public-memit"}
    assert {r["gain"] for r in found["comparison"]} <= set(GAINS)


def test_the_document_is_written_with_a_plot_and_names_no_folder(
    found: dict[str, Any], folder: Path
) -> None:
    text = (folder / "public.json").read_text(encoding="utf-8")
    assert json.loads(text)["figures"] == found["figures"]
    assert str(folder) not in text
    assert str(GOLDEN) not in text
    assert (folder / "public.png").stat().st_size > 10_000


def test_a_second_run_takes_the_finished_rows(
    found: dict[str, Any], data: Path, folder: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()}
    again = measured(data, folder)
    assert again["figures"] == found["figures"]
    assert {path: path.stat().st_mtime_ns for path in (folder / "rows").iterdir()} == before


def test_a_setting_of_a_method_that_is_not_measured_is_refused(data: Path, tmp_path: Path) -> None:
    words = ["public", "--model", str(GOLDEN / "llama" / "model"), "--data", str(data)]
    more = ["--folder", str(tmp_path), "--method", "in-context", "--set", "memit.layers=[1]"]
    result = CliRunner().invoke(bench_app, [*words, *more])
    assert result.exit_code != 0
    assert "add --method memit" in result.output


def test_a_model_that_knows_none_of_the_records_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps([record(1, "{} is based in", "Uloburjen Corp", "Oslo", "Rome")]))
    words = ["public", "--model", str(GOLDEN / "llama" / "model"), "--data", str(path)]
    more = ["--folder", str(tmp_path / "run"), "--method", "in-context"]
    result = CliRunner().invoke(bench_app, [*words, *more])
    assert result.exit_code != 0
    assert "knows 0 of the 1 records" in result.output
