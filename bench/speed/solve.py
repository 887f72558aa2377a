"""The time and memory of the ledger solve of thousands of rows: whole, resumed, and added to.

    factd bench solve [--rows 5000] [--tokens 100000] [--json]

Keys are read from real prompts of the reference world. Values are random points, which cost the
same.
"""

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from factd.bench.measure import document, peak_mib, timed
from factd.bench.quality.world import WORKSPACE, open_world
from factd.bench.speed.material import many_edits
from factd.editor.edits import EditBatch
from factd.editor.methods import memit
from factd.editor.methods._write import second_moments
from factd.editor.moments.moments import Moments
from factd.editor.progress import silent
from factd.editor.solving.chunks import GramSums
from factd.editor.solving.layers import LayerSystem, Solution, Solve, solve_layers

BOUND_GIB = 1.0
FOLDER = WORKSPACE / "solve"


def run(*, rows: int = 5000, tokens: int = 100_000) -> dict[str, Any]:
    """Run the benchmark. Returns its document.

    It measures a whole solve, an interrupted one, an incremental one, and both forms of the linear
    system by the number of edits.
    """
    world = open_world()
    settings = replace(world.settings, second_moment_tokens=tokens)
    edits = EditBatch.of(many_edits(world, rows)).edits
    moments = second_moments(world.model, settings, WORKSPACE)
    generator = torch.Generator().manual_seed(0)
    z = 60.0 * torch.randn(len(edits), world.model.weight(0).shape[0], generator=generator)
    solver, templates = memit.solver(1200.0), world.settings.templates
    held = peak_mib("cpu")

    def solved(part: slice, folder: Path, **more: Any) -> Solution:
        progress = more.pop("progress", silent)
        solve = Solve(
            edits=edits[part],
            values=z[part],
            moments=moments,
            templates=templates,
            solver=solver,
            memory_gib=BOUND_GIB,
            unfinished=folder,
            **more,
        )
        return solve_layers(world.model, solve, progress=progress)

    shutil.rmtree(FOLDER, ignore_errors=True)
    with timed() as refresh:
        whole = solved(slice(None), FOLDER / "whole")
    peak = peak_mib("cpu") - held
    resumed, seconds = interrupted(solved)
    same = all(torch.equal(p.matrix(), resumed.parts[n].matrix()) for n, p in whole.parts.items())
    keep = len(edits) * 99 // 100
    zero = empty_sums(world.model.weight(0).shape, moments)
    first = solved(slice(0, keep), FOLDER / "first", earlier=zero)
    with timed() as added:
        later = solved(slice(keep, None), FOLDER / "later", earlier=first.sums)
    table: list[dict[str, Any]] = [
        {"what": f"refresh, {len(edits)} rows", "seconds": refresh.seconds, "difference": 0.0},
        {
            "what": "the same, resumed above layer 0",
            "seconds": seconds,
            "difference": 0.0 if same else 1.0,
        },
        {
            "what": f"add {len(edits) - keep} rows to {keep}",
            "seconds": added.seconds,
            "difference": largest_difference(later, whole),
        },
        {
            "what": "(left out instead)",
            "seconds": None,
            "difference": largest_difference(first, whole),
        },
    ]
    return document(
        "solve", "cpu", table,
        layers=len(moments.layers), peak_mib_above_start=round(peak), bound_mib=BOUND_GIB * 1024,
        forms=seconds_by_form(moments),
    )  # fmt: skip


class Interruption(Exception):
    """Interrupts a solve on purpose."""


def interrupted(solved: Any) -> tuple[Solution, float]:
    """Stop a solve after its first layer and resume it.

    Returns the solution, and the seconds after resuming.
    """

    def stop(stage: str, done: int, total: int) -> None:
        raise Interruption

    with suppress(Interruption):
        solved(slice(None), FOLDER / "stopped", progress=stop)
    with timed() as clock:
        found = solved(slice(None), FOLDER / "stopped")
    return found, clock.seconds


def largest_difference(one: Solution, other: Solution) -> float:
    """The largest relative difference between two solutions' updates, over the layers."""
    pairs = [(p.matrix(), one.parts[n].matrix()) for n, p in other.parts.items()]
    return max(float((a - b).norm() / a.norm()) for a, b in pairs)


def empty_sums(shape: torch.Size, moments: Moments) -> dict[int, GramSums]:
    """Sums of no rows per layer. Given to a solve, they make it return its own sums."""
    zero = GramSums(
        torch.zeros(shape[1], shape[1]).double(), torch.zeros(shape[1], shape[0]).double()
    )
    return dict.fromkeys(moments.layers, zero)


def seconds_by_form(moments: Moments) -> dict[str, dict[str, float]]:
    """Seconds to solve one layer's system by the number of edits, in both forms.

    The forms: n x n, with the factor of the second moment known, and d_in x d_in.
    """
    layer = min(moments.layers)
    second = moments.layers[layer].double()
    factor = moments.factor(layer, second.device)
    found = {}
    for n in (16, 64, 256, 640, 1280):
        generator = torch.Generator().manual_seed(n)
        keys: Tensor = torch.randn(len(second), n, generator=generator).double()
        system = LayerSystem.of(
            keys, torch.randn(256, n, generator=generator).double(), second, keys[:, :0]
        )
        seconds = {}
        for name, least in (("n x n", factor), ("d x d", None)):
            chosen = replace(
                system, factor=least, before=None if least is not None else no_rows(second)
            )
            with timed() as clock:
                memit.solver(1200.0)(chosen)
            seconds[name] = round(clock.seconds, 4)
        found[str(n)] = seconds
    return found


def no_rows(second: Tensor) -> GramSums:
    """Sums of no rows, for a second moment (d_in, d_in) float64."""
    return GramSums(torch.zeros_like(second), torch.zeros(len(second), 256).double())
