"""Prune deletes old files, but nothing that can still be published, rolled back to or explained."""

import os
import time
from datetime import timedelta
from pathlib import Path

from factd.daemon.app import open_app
from factd.daemon.backup import retention
from factd.store import operations, queries
from factd.store.model.operations import TaskStatus
from factd.store.model.releases import RunStatus
from support.terminal import FEED, THINGS, Operator, update


def age(folder: Path, days: float) -> None:
    """Make everything below a folder look that many days old."""
    then = time.time() - days * 86_400
    for root, _, names in os.walk(folder):
        for name in (".", *names):
            os.utime(Path(root) / name, (then, then))


def test_what_can_still_be_rolled_back_to_is_kept_and_the_rest_goes(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    path = operator.folder / "factd.toml"
    path.write_text(path.read_text() + "\n[publish]\nkeep = 1\n")
    for number, country in enumerate(("Germany", "Chile", "Egypt", "Stockholm")):
        operator.ingest([update(THINGS[0], country, f"20{20 + number}-01-01")], f"{number}.jsonl")
        operator("edit", "--publish")
    app = open_app(path)
    age(app.config.state_dir / "candidates", 40)
    age(app.workbench.workspace / "values", 40)
    on_disk = set(app.versions.numbers())
    done = retention.prune(app)
    kept = {int(folder.name) for folder in app.paths.candidate(0).parent.iterdir()}
    assert done.candidates == 4 - len(kept)
    assert done.values > 0
    assert done.bytes > 0
    assert kept >= {number for number in on_disk if number}
    for number in sorted(on_disk):
        operator("rollback", "--to", str(number))
    operator("unfreeze")
    operator("releases", "publish", "4")
    assert operator("audit")["outcome"] == "passed"  # values that it needs are found again
    app.ledger.store.close()


def test_what_is_young_is_kept(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    operator.ingest(FEED)
    operator("edit", "--publish")
    app = open_app(operator.folder / "factd.toml")
    assert retention.prune(app).sentence() == "0 candidates, 0 values, 0 rows, 0.0 MiB deleted"
    app.ledger.store.close()


def test_old_measurements_are_forgotten_and_what_was_decided_is_not(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    path = operator.folder / "factd.toml"
    path.write_text(path.read_text() + "\n[publish]\nkeep = 1\n[retention]\nruns_days = 1e-9\n")
    for number, country in enumerate(("Germany", "Chile", "Stockholm")):
        operator.ingest([update(THINGS[0], country, f"20{20 + number}-01-01")], f"{number}.jsonl")
        operator("edit", "--publish")
        operator("audit")
    app = open_app(path)
    on_disk = set(app.versions.numbers())
    assert retention.prune(app).rows == 3 - len(on_disk - {0})
    for number in (1, 2, 3):
        found = operator("releases", "show", str(number))
        assert bool(found["measurements"]) == (number in on_disk)
    with app.ledger.begin() as session:
        last, *older = queries.evidence.audits(session)
    assert last.report["measurements"]
    assert [audit.report for audit in older] == [{"lost": []}, {"lost": []}]
    assert [audit.outcome.value for audit in older] == ["passed", "passed"]
    assert operator("policy", "test")
    app.ledger.store.close()


def test_old_runs_and_tasks_are_forgotten_but_for_the_last_of_each_job(tmp_path: Path) -> None:
    operator = Operator(tmp_path)
    app = open_app(operator.folder / "factd.toml")
    old = app.ledger.now() - timedelta(days=100)
    with app.ledger.begin() as session:
        for minute in range(5):
            moment = old + timedelta(minutes=minute)
            run = operations.runs.start_run(session, "pull", moment, now=moment)
            assert run is not None
            operations.runs.finish_run(session, run, RunStatus.DONE, "", now=moment)
        operations.tasks.add_task(session, "edit", {}, now=old)
        held = operations.tasks.claim(session, "w", now=old)
        assert held is not None
        operations.tasks.record_death(session, held, "killed", "", now=old)
        operations.tasks.end_task(session, held, TaskStatus.DONE, "", {}, now=old)
    assert retention.prune(app).rows == 4 + 1
    with app.ledger.begin() as session:
        (last,) = operations.runs.last_runs(session)
        assert last.scheduled_for == old + timedelta(minutes=4)
        assert operations.tasks.last_task(session, "edit") is None
    app.ledger.store.close()
