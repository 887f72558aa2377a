"""Does an edit cost the same in a batch of thousands?

Values, keys and solve from 100 to 2,000 edits.

    factd bench scale [--edits 2000] [--json]

All optimisations are on (bfloat16, three rows, the larger step). Known facts of the reference world
get the object of another fact.
"""

from dataclasses import replace
from typing import Any

import torch

from factd.bench.measure import document, peak_mib, timed
from factd.bench.quality.world import WORKSPACE, open_world
from factd.bench.speed.material import groups_of, many_edits, public_settings
from factd.editor.edits import EditBatch
from factd.editor.methods import memit
from factd.editor.methods._write import second_moments
from factd.editor.models.model import load_model
from factd.editor.solving.layers import Solve, solve_layers
from factd.editor.values.values import values_of_groups
from factd.reference import paths

SIZES = (100, 250, 500, 1000, 2000)
BOUND_GIB = 1.0


def run(*, edits: int = 2000) -> dict[str, Any]:
    """Run the benchmark. Returns its document.

    Every batch is an even sample of the same edits, so that batches of all sizes are alike.
    """
    world = open_world()
    model = load_model(paths.MODEL, dtype="bfloat16")
    every = many_edits(world, edits)
    settings = public_settings(world, prefixes=2)
    settings = replace(settings, v_lr=settings.v_lr * 1.5)
    moments = second_moments(world.model, world.settings, WORKSPACE)
    rows: list[dict[str, Any]] = []
    for size in (s for s in SIZES if s <= edits):
        batch = EditBatch.of(every[:: edits // size][:size])
        before = peak_mib("cpu")
        with timed() as values:
            found = dict(values_of_groups(model, groups_of(batch.edits), settings))
        z = torch.cat([found[n] for n in range(len(batch))])
        with timed() as solve:
            solve_layers(
                world.model,
                Solve(
                    edits=batch.edits,
                    values=z,
                    moments=moments,
                    templates=settings.templates,
                    solver=memit.solver(1200.0),
                    memory_gib=BOUND_GIB,
                    unfinished=WORKSPACE / "scale",
                ),
            )
        total = values.seconds + solve.seconds
        rows.append(
            {
                "edits": len(batch),
                "values s": values.seconds / len(batch),
                "keys+solve s": solve.seconds / len(batch),
                "total s": total / len(batch),
                "of the first": None,
                "MiB more": round(peak_mib("cpu") - before),
            }
        )
    rows = [row | {"of the first": row["total s"] / rows[0]["total s"]} for row in rows]
    return document("scale", "cpu", rows, peak_mib=round(peak_mib("cpu")))
