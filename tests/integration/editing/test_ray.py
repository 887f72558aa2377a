"""Two Ray workers on this machine give the results of one process.

A worker that is killed loses no results.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from factd.editor import Edit, EditableModel, EditBatch, load_model
from factd.editor.errors import WorkerLost
from factd.editor.exams.exam import answers_with
from factd.editor.methods import memit
from factd.editor.models.workers import in_order, run_task
from factd.editor.scoring.score import Probe
from factd.editor.values.cache import values_for
from support.paths import GOLDEN

ray = pytest.importorskip("ray", reason="Ray is an optional extra")
from factd.editor.models.ray_workers import ray_workers  # noqa: E402

CASE = json.loads((GOLDEN / "llama" / "case.json").read_text())
EDITS = [Edit(**request) for request in CASE["requests"]]
SETTINGS = memit.Settings(
    layers=(0, 1),
    second_moment_weight=30.0,
    v_lr=0.3,
    v_num_grad_steps=8,
    second_moment_tokens=3000,
    templates={"en": ("The report was long",)},
)
PROBES = [
    Probe(
        kind="edit",
        language="en",
        prompt=e.prompt.format(e.subject),
        target=e.target_new,
        accepted=(e.target_new,),
        contrast=e.target_true or "nothing",
    )
    for e in EDITS
]


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


@pytest.fixture(scope="module")
def two(model: EditableModel) -> Iterator[EditableModel]:
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # tasks of this file
    with ray_workers(model, 2) as found:
        yield found


def slow(_: Any, items: list[int], *, seconds: float) -> Iterator[tuple[int, int]]:
    """A slow task. Its results say which process did it."""
    for number, item in enumerate(items):
        time.sleep(seconds)
        yield number, item * 1_000_000 + os.getpid() % 1_000_000


def deadly(_: Any, items: list[int]) -> Iterator[tuple[int, int]]:
    """A task that kills the process which does item 7."""
    for number, item in enumerate(items):
        if item == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        yield number, item


@pytest.mark.slow
@pytest.mark.parametrize("targets", ["spread", "replay"])
def test_two_workers_write_the_bytes_of_one(
    targets: str, model: EditableModel, two: EditableModel, tmp_path: Path
) -> None:
    batch, settings = EditBatch.of(EDITS), replace(SETTINGS, targets=targets)
    alone = memit.edit(model, batch, settings=settings, workspace=tmp_path / "one")
    shared = memit.edit(two, batch, settings=settings, workspace=tmp_path / "two")
    assert shared.id == alone.id
    ours, theirs = (answers_with(m, PROBES, shared, ".") for m in (model, two))
    assert [(a.text, a.right, a.accurate) for a in ours] == [
        (a.text, a.right, a.accurate) for a in theirs
    ]
    for one, other in zip(ours, theirs, strict=True):  # batches of other sizes: rounding
        assert one.target_nll == pytest.approx(other.target_nll, abs=1e-5)
    base = answers_with(two, PROBES, None, ".")
    assert sum(a.target_nll for a in theirs) < sum(a.target_nll for a in base) - 1.0


def test_a_killed_worker_loses_nothing_and_doubles_nothing(two: EditableModel) -> None:
    workers: Any = two.workers
    victim = workers.pids()[0]
    threading.Timer(0.5, os.kill, (victim, signal.SIGKILL)).start()
    results = list(run_task(two, slow, list(range(16)), seconds=0.15))
    assert sorted(number for number, _ in results) == list(range(16))
    found = in_order(iter(results), 16)
    assert [value // 1_000_000 for value in found] == list(range(16))
    assert len({value % 1_000_000 for value in found}) >= 2
    assert victim not in workers.pids()


def test_values_are_the_same_after_a_worker_was_killed(
    model: EditableModel, two: EditableModel, tmp_path: Path
) -> None:
    workers: Any = two.workers
    os.kill(workers.pids()[1], signal.SIGKILL)
    chosen, batch = SETTINGS.values(SETTINGS.templates), EditBatch.of(EDITS)
    expected = values_for(model, batch, chosen, tmp_path / "one")
    assert torch.equal(values_for(two, batch, chosen, tmp_path / "two"), expected)


@pytest.mark.slow
def test_what_kills_every_worker_is_an_error_and_not_a_loop(two: EditableModel) -> None:
    with pytest.raises(WorkerLost, match="died 3 times"):
        list(run_task(two, deadly, list(range(8))))


@pytest.mark.slow
def test_the_daemons_model_has_the_workers_that_are_configured(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from factd.daemon.app import Workbench
from factd.daemon.config.tables import ModelTable
table = ModelTable(path=Path({str(GOLDEN / "llama" / "model")!r}), dtype="bfloat16", workers=2)
bench = Workbench(table, Path("answers"))
model = bench.model()
print(model.dtype, len(set(model.workers.pids())), bench.model() is model)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["bfloat16", "2", "True"], done.stderr
