"""Large solves: piece by piece within a bound, n x n where there are few edits, going on where they were interrupted."""

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
from factd.editor.solving.chunks import PIECE, RESUMED, Columns, Pieces, room_for, summed
from factd.editor.solving.layers import Solution, System, solve_layers
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


def solved(model: EditableModel, moments: Moments, **more: Any) -> Solution:
    solver = memit.solver(30.0)
    return solve_layers(model, EDITS, values(model), moments, TEMPLATES, solver, **more)


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
def test_memit_gives_the_same_by_either_way_and_from_pieces(n: int) -> None:
    keys, residuals, second = problem(n)
    still = torch.zeros(24, 0).double()
    whole = memit.solver(2.0)(System.of(keys, residuals, second, still))
    pieces = Pieces()
    bounds = [*range(0, n, 5), n]
    for number, (a, b) in enumerate(pairwise(bounds)):
        pieces.put(str(number), {"keys": keys[:, a:b].T, "residuals": residuals[:, a:b].T})
    names = tuple(str(i) for i in range(len(bounds) - 1))
    columns = Columns(pieces, names, n, keys.device)
    parted = memit.solver(2.0)(System(columns=columns, second_moment=second, still=still))
    assert torch.allclose(whole.update, solve_update(keys, residuals, second * 2), atol=1e-10)
    assert torch.allclose(parted.update, whole.update, atol=1e-10)
    assert parted.leverage == pytest.approx(float(leverage(keys, second * 2).max()), abs=1e-9)


def test_sums_go_on_from_earlier_ones() -> None:
    keys, residuals, _ = problem(10)
    both = summed(Columns.of(keys, residuals))
    first = summed(Columns.of(keys[:, :6], residuals[:, :6]))
    later = summed(Columns.of(keys[:, 6:], residuals[:, 6:]), first)
    assert torch.allclose(later.gram, both.gram, atol=1e-12)
    assert torch.allclose(later.cross, both.cross, atol=1e-12)


def test_a_bound_on_memory_cuts_the_rows_or_is_refused() -> None:
    wide = room_for(100, d_in=1280, d_out=256, memory_gib=8)
    assert wide is not None and wide.piece == PIECE and not wide.on_disk
    tight = room_for(100, d_in=1280, d_out=256, memory_gib=0.06)
    assert tight is not None and tight.piece < PIECE
    many = room_for(RESUMED, d_in=1280, d_out=256, memory_gib=8)
    assert many is not None and many.on_disk
    assert room_for(100, d_in=1280, d_out=256, memory_gib=0.03) is None


def test_a_bound_that_is_too_small_says_what_is_needed(
    model: EditableModel, moments: Moments
) -> None:
    with pytest.raises(BadSettings, match=r"solve_memory_gib = 1e-05 is too small .* at least"):
        solved(model, moments, memory_gib=1e-5)


class Stopped(RuntimeError):
    """The test's interruption."""


@pytest.fixture
def on_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every solve keeps its pieces in files."""
    monkeypatch.setattr("factd.editor.solving.chunks.RESUMED", 1)
    monkeypatch.setattr("factd.editor.solving.chunks.PIECE", 4)
    yield


@pytest.mark.usefixtures("on_disk")
def test_an_interrupted_solve_goes_on_and_ends_in_the_same_bytes(
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
def test_a_damaged_piece_is_an_error_with_its_path(
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
def test_pieces_in_files_give_what_pieces_in_memory_give(
    model: EditableModel, moments: Moments, tmp_path: Path
) -> None:
    files = solved(model, moments, unfinished=tmp_path / "files")
    memory = solved(model, moments)
    for name, part in memory.parts.items():
        assert torch.equal(part.matrix(), files.parts[name].matrix())


def test_facts_that_are_added_to_a_solve_come_close_to_solving_all_of_them(
    model: EditableModel, moments: Moments
) -> None:
    z, end, solver = values(model), len(EDITS) - 2, memit.solver(30.0)
    kwargs: dict[str, Any] = {"templates": TEMPLATES, "solver": solver}
    everything = solve_layers(model, EDITS, z, moments, earlier=nothing(model), **kwargs)
    first = solve_layers(model, EDITS[:end], z[:end], moments, earlier=nothing(model), **kwargs)
    later = solve_layers(model, EDITS[end:], z[end:], moments, earlier=first.sums, **kwargs)
    lowest = model.parameter(0)
    exact, added = everything.parts[lowest].matrix(), later.parts[lowest].matrix()
    assert torch.allclose(exact, added, atol=1e-5)  # the first layer reads the base: the same
    for name, part in everything.parts.items():
        gap = (part.matrix() - later.parts[name].matrix()).norm() / part.matrix().norm()
        old = (part.matrix() - first.parts[name].matrix()).norm() / part.matrix().norm()
        assert gap < 0.6 * old  # nearer than leaving the new facts out


def nothing(model: EditableModel) -> dict[int, Any]:
    from factd.editor.solving.chunks import Sums

    d_out, d_in = model.weight(0).shape
    zero = Sums(torch.zeros(d_in, d_in).double(), torch.zeros(d_in, d_out).double())
    return dict.fromkeys(SETTINGS.layers, zero)
