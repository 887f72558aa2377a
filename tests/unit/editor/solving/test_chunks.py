"""Large solves: in chunks within a memory budget, resumed if interrupted, n x n for few edits."""

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from factd.editor import Edit, EditableModel, EditBatch, load_model
from factd.editor.closed_form import cholesky, leverage, solve_update, woodbury
from factd.editor.errors import BadSettings, DamagedArtefact
from factd.editor.methods import memit
from factd.editor.methods._write import second_moments
from factd.editor.moments.moments import Moments
from factd.editor.progress import Progress, silent
from factd.editor.solving.chunks import (
    CHUNK_ROWS,
    ON_DISK_ROWS,
    ChunkStore,
    GramSums,
    KeyChunks,
    gram_sums,
    memory_budget,
)
from factd.editor.solving.layers import LayerSystem, Solution, Solve, solve_layers
from support.paths import GOLDEN

CASE = json.loads((GOLDEN / "llama" / "case.json").read_text())
EDITS = EditBatch.of(Edit(**request) for request in CASE["requests"]).edits
TEMPLATES = {"en": ("The report was long",)}
SETTINGS = memit.Settings(
    layers=(0, 1, 2), second_moment_weight=30.0, second_moment_tokens=3000, templates=TEMPLATES
)


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


@pytest.fixture(scope="module")
def moments(model: EditableModel, tmp_path_factory: pytest.TempPathFactory) -> Moments:
    return second_moments(model, SETTINGS, tmp_path_factory.mktemp("workspace"))


def values(model: EditableModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(len(EDITS), model.weight(0).shape[0], generator=generator)


def solved(
    model: EditableModel, moments: Moments, *, progress: Progress = silent, **more: Any
) -> Solution:
    given: dict[str, Any] = {"edits": EDITS, "values": values(model)} | more
    solve = Solve(moments=moments, templates=TEMPLATES, solver=memit.solver(30.0), **given)
    return solve_layers(model, solve, progress=progress)


def problem(n: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    old = torch.randn(24, 200, generator=generator).double()
    keys = torch.randn(24, n, generator=generator).double()
    return keys, torch.randn(7, n, generator=generator).double(), old @ old.T / 200


@pytest.mark.parametrize("n", [1, 5, 12])
def test_the_small_system_gives_the_update_of_the_large_one(n: int) -> None:
    keys, residuals, second = problem(n)
    update, used = woodbury(keys, residuals, cholesky(second))
    assert torch.allclose(update, solve_update(keys, residuals, second), atol=1e-10)
    assert torch.allclose(used, leverage(keys, second), atol=1e-10)


@pytest.mark.parametrize("n", [3, 12, 13, 40])
def test_memit_gives_the_same_update_by_either_system_and_from_chunks(n: int) -> None:
    keys, residuals, second = problem(n)
    no_keys = torch.zeros(24, 0).double()
    whole = memit.solver(2.0)(LayerSystem.of(keys, residuals, second, no_keys))
    store = ChunkStore()
    bounds = [*range(0, n, 5), n]
    for number, (a, b) in enumerate(pairwise(bounds)):
        store.put(str(number), {"keys": keys[:, a:b].T, "residuals": residuals[:, a:b].T})
    names = tuple(str(i) for i in range(len(bounds) - 1))
    chunks = KeyChunks(store, names, n, keys.device)
    parted = memit.solver(2.0)(LayerSystem(chunks=chunks, second_moment=second, fixed_keys=no_keys))
    assert torch.allclose(whole.update, solve_update(keys, residuals, second * 2), atol=1e-10)
    assert torch.allclose(parted.update, whole.update, atol=1e-10)
    assert parted.leverage == pytest.approx(float(leverage(keys, second * 2).max()), abs=1e-9)


def test_gram_sums_continue_from_earlier_ones() -> None:
    keys, residuals, _ = problem(10)
    both = gram_sums(KeyChunks.of(keys, residuals))
    first = gram_sums(KeyChunks.of(keys[:, :6], residuals[:, :6]))
    later = gram_sums(KeyChunks.of(keys[:, 6:], residuals[:, 6:]), first)
    assert torch.allclose(later.gram, both.gram, atol=1e-12)
    assert torch.allclose(later.cross, both.cross, atol=1e-12)


def test_a_memory_budget_cuts_the_rows_into_chunks_or_is_refused() -> None:
    wide = memory_budget(100, d_in=1280, d_out=256, memory_gib=8)
    assert wide is not None and wide.chunk_rows == CHUNK_ROWS and not wide.on_disk
    tight = memory_budget(100, d_in=1280, d_out=256, memory_gib=0.06)
    assert tight is not None and tight.chunk_rows < CHUNK_ROWS
    many = memory_budget(ON_DISK_ROWS, d_in=1280, d_out=256, memory_gib=8)
    assert many is not None and many.on_disk
    assert memory_budget(100, d_in=1280, d_out=256, memory_gib=0.03) is None


def test_the_error_for_a_budget_that_is_too_small_says_how_much_is_needed(
    model: EditableModel, moments: Moments
) -> None:
    with pytest.raises(BadSettings, match=r"solve_memory_gib = 1e-05 is too small .* at least"):
        solved(model, moments, memory_gib=1e-5)


class Stopped(RuntimeError):
    """The test's interruption."""


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every solve keeps its chunks in files."""
    monkeypatch.setattr("factd.editor.solving.chunks.ON_DISK_ROWS", 1)
    monkeypatch.setattr("factd.editor.solving.chunks.CHUNK_ROWS", 4)
    yield


@pytest.mark.usefixtures("on_disk")
def test_an_interrupted_solve_resumes_and_gives_the_same_bytes(
    model: EditableModel, moments: Moments, tmp_path: Path
) -> None:
    undisturbed = solved(model, moments, unfinished=tmp_path / "other")

    def stop(_: str, done: int, __: int) -> None:
        if done == 2:
            raise Stopped

    with pytest.raises(Stopped):
        solved(model, moments, unfinished=tmp_path / "this", progress=stop)
    kept = sorted(path.name for path in (tmp_path / "this").iterdir())
    assert "update-0" in kept and "update-1" in kept
    reads: list[str] = []
    handle = model.mlp_out(0).register_forward_pre_hook(lambda *_: reads.append("read"))
    again = solved(model, moments, unfinished=tmp_path / "this")
    first = len(reads)
    solved(model, moments, unfinished=tmp_path / "third")
    handle.remove()
    assert first < (len(reads) - first)  # it read less than a whole solve does
    for name, part in undisturbed.parts.items():
        assert torch.equal(part.matrix(), again.parts[name].matrix())
    assert undisturbed.diagnostics == again.diagnostics
    assert not (tmp_path / "this").exists()


@pytest.mark.usefixtures("on_disk")
def test_the_error_for_a_damaged_chunk_has_its_path(
    model: EditableModel, moments: Moments, tmp_path: Path
) -> None:
    def stop(_: str, __: int, ___: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        solved(model, moments, unfinished=tmp_path / "this", progress=stop)
    (tmp_path / "this" / "update-0" / "piece.safetensors").write_bytes(b"torn")
    with pytest.raises(DamagedArtefact, match="update-0"):
        solved(model, moments, unfinished=tmp_path / "this")


@pytest.mark.usefixtures("on_disk")
def test_chunks_in_files_give_the_same_bytes_as_chunks_in_memory(
    model: EditableModel, moments: Moments, tmp_path: Path
) -> None:
    files = solved(model, moments, unfinished=tmp_path / "files")
    memory = solved(model, moments)
    for name, part in memory.parts.items():
        assert torch.equal(part.matrix(), files.parts[name].matrix())


def test_facts_that_are_added_to_a_solve_come_close_to_solving_all_of_them(
    model: EditableModel, moments: Moments
) -> None:
    z, end = values(model), len(EDITS) - 2
    zero = empty_sums(model)
    everything = solved(model, moments, earlier=zero)
    first = solved(model, moments, edits=EDITS[:end], values=z[:end], earlier=zero)
    later = solved(model, moments, edits=EDITS[end:], values=z[end:], earlier=first.sums)
    lowest = model.parameter(0)
    exact, added = everything.parts[lowest].matrix(), later.parts[lowest].matrix()
    assert torch.allclose(exact, added, atol=1e-5)  # the first layer reads the base: the same
    for name, part in everything.parts.items():
        gap = (part.matrix() - later.parts[name].matrix()).norm() / part.matrix().norm()
        old = (part.matrix() - first.parts[name].matrix()).norm() / part.matrix().norm()
        assert gap < 0.6 * old  # nearer than leaving the new facts out


def empty_sums(model: EditableModel) -> dict[int, GramSums]:
    d_out, d_in = model.weight(0).shape
    zero = GramSums(torch.zeros(d_in, d_in).double(), torch.zeros(d_in, d_out).double())
    return dict.fromkeys(SETTINGS.layers, zero)
