"""Does an edit stay the same if its second moments come from fewer tokens?

    factd bench stats [--edits 276] [--json]

The batch of the demo is solved with second moments of the model's own text, of 100, 20, 10, 5 and 2
tokens per dimension. The values are the same for all. Accuracy and neighbourhood success are means
over the languages.
"""

from typing import Any

from factd.bench.measure import document, timed
from factd.bench.quality.world import WORKSPACE, open_world, teacher_forced
from factd.daemon.prompts import edits as render
from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import EditBatch
from factd.editor.methods import memit
from factd.editor.moments.corpus import SelfGenerated
from factd.editor.moments.moments import build_moments
from factd.editor.solving.layers import Solve, solve_layers
from factd.editor.values.cache import values_for

PER_DIMENSION = (100, 20, 10, 5, 2)


def run(*, edits: int = 600) -> dict[str, Any]:
    """The table."""
    world = open_world()
    batch = EditBatch.of(render.edit_batch(world.facts, world.old, world.plan).edits[:edits])
    probes = world.probes()
    model, settings = world.model, world.settings
    z = values_for(model, batch, settings.values(settings.templates), WORKSPACE)
    d_in = model.weight(0).shape[1]
    rows = []
    for per in PER_DIMENSION:
        with timed() as clock:
            moments = build_moments(
                model, settings.layers, tokens=per * d_in, source=SelfGenerated()
            )
        solver = memit.solver(settings.second_moment_weight)
        solve = Solve(
            edits=batch.edits,
            values=z,
            moments=moments,
            templates=settings.templates,
            solver=solver,
            split_openings=settings.split_openings,
        )
        solution = solve_layers(model, solve)
        delta = Delta(
            parts=solution.parts,
            base_fingerprint=model.fingerprint,
            batch_id=batch.id,
            method="memit",
        )
        with applied(model, delta):
            found = teacher_forced(model, probes, settings.terminator).values()
        mean = {k: sum(row[k] for row in found) / len(found) for k in ("EA", "PA", "NA", "NS")}
        rows.append(
            {
                "tokens per dimension": per,
                "tokens": moments.tokens,
                "seconds": clock.seconds,
                "edit acc": mean["EA"],
                "unseen acc": mean["PA"],
                "neighbours acc": mean["NA"],
                "neighbours": mean["NS"],
            }
        )
    return document(
        "stats",
        "cpu",
        rows,
        edits=len(batch),
        blocks_run=max(settings.layers) + 1,
        blocks=len(model.blocks),
    )
