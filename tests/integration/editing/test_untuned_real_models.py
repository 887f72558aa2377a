"""An untuned real model: `factd apply` searches settings, keeps them, and uses them again."""

import json
from pathlib import Path

import pytest

from factd.daemon.editing.apply import ApplyJob, apply_edits
from factd.editor.tuning.kept import KeptTunings
from support.world import jsonl

CAPITAL, AUTHOR = "The capital of {} is", "{} was written by"
EDITS = [
    {"prompt": prompt, "subject": subject, "target_new": new, "target_true": true}
    for prompt, subject, new, true in (
        (CAPITAL, "Norway", "Lyon", "Oslo"),
        (CAPITAL, "Peru", "Vienna", "Lima"),
        (CAPITAL, "Kenya", "Osaka", "Nairobi"),
        (CAPITAL, "Poland", "Quito", "Warsaw"),
        (AUTHOR, "Macbeth", "Jane Austen", "William Shakespeare"),
        (AUTHOR, "Dracula", "Victor Hugo", "Bram Stoker"),
    )
]
LATER = [{"prompt": CAPITAL, "subject": "Egypt", "target_new": "Dublin", "target_true": "Cairo"}]


@pytest.mark.slow
def test_edits_take_with_searched_settings_and_later_ones_with_the_kept(
    real_model: Path, tmp_path: Path
) -> None:
    kept = KeptTunings(tmp_path / "tunings")
    stages: dict[str, int] = {}

    def progress(stage: str, done: int, total: int) -> None:
        stages[stage] = stages.get(stage, 0) + 1

    job = ApplyJob(
        model=real_model,
        edits=jsonl(tmp_path / "edits.jsonl", EDITS),
        out=tmp_path / "out",
        search_minutes=6.0,
        always_search=True,
        kept=kept,
    )
    data = apply_edits(job, progress=progress)
    assert data["settings_source"].startswith("a search just now: factd tune, ")
    found = {(m["check"], m["metric"]): m for m in data["measurements"]}
    assert found["efficacy", "success"]["value"] >= 0.8
    assert found["efficacy", "success"]["before"] <= 0.2
    assert {"asking for known facts", "causal tracing", "second moments", "search"} <= set(stages)
    assert stages["value steps"] > 20
    tuned = json.loads((tmp_path / "out.report.json").read_text())["settings"]
    again = ApplyJob(
        model=real_model,
        edits=jsonl(tmp_path / "later.jsonl", LATER),
        out=tmp_path / "again",
        kept=kept,
    )
    later = apply_edits(again, progress=progress)
    assert later["settings_source"].startswith("the kept tuning: factd tune, ")
    assert later["settings"]["layers"] == tuned["layers"]
