"""The optimisations of the editor, one added at a time, against public MEMIT.

    factd bench edit [--edits 100] [--json]

The ladder is explained in docs/explanation/editing.md §4. All rungs and public MEMIT run on the
reference model in one process, with public settings: 25 evaluations, six templates and the KL row,
early stop at 0.05. The first rungs compute the same values as public MEMIT. The last ones
(bfloat16, fewer rows, a larger step) do not; judge them together with the quality in their row.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from factd.bench.measure import count_operations, document, matrix_rate, timed
from factd.bench.quality.world import WORKSPACE, BenchWorld, open_world, teacher_forced
from factd.bench.speed import public_memit
from factd.bench.speed.material import groups_of, public_edits, public_settings
from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import Edit, EditBatch
from factd.editor.methods import memit
from factd.editor.methods._write import second_moments
from factd.editor.models.model import EditableModel, load_model
from factd.editor.models.weights import weights_restored
from factd.editor.moments.moments import Moments
from factd.editor.scoring.score import Probe
from factd.editor.solving.layers import Solve, delta_part, solve_layers
from factd.editor.values.optimizer import ComputeOptions
from factd.editor.values.problem import ValueSettings
from factd.editor.values.values import values_of_groups
from factd.reference import paths

WEIGHT = 300.0
COUNTED = 12  # number of edits whose operations are counted


@dataclass(frozen=True)
class Rung:
    """One optimisation, added to those before it."""

    name: str
    compute: ComputeOptions
    dtype: str = "float32"
    prefixes: int = 5
    v_lr: float | None = None


RUNGS = (
    Rung(
        "many facts at once",
        ComputeOptions(lower_once=False, suffix_only=False, answers_only=False),
    ),
    Rung("+ lower blocks once", ComputeOptions(suffix_only=False, answers_only=False)),
    Rung("+ suffix only", ComputeOptions(answers_only=False)),
    Rung("+ logits where asked", ComputeOptions()),
    Rung("+ bfloat16", ComputeOptions(), "bfloat16"),
    Rung("+ 3 rows, step x 1.5", ComputeOptions(), "bfloat16", prefixes=2, v_lr=1.5),
)


@dataclass(frozen=True)
class LadderSetup:
    """The model, edits and probes that all rungs are measured with."""

    world: BenchWorld
    edits: tuple[Edit, ...]
    probes: tuple[Probe, ...]
    moments: Moments

    def quality(self, parts: dict[str, Any]) -> dict[str, float]:
        """Accuracy of the edits and of other wordings, and success of neighbours.

        Means over the two languages.
        """
        delta = Delta(
            parts=parts, base_fingerprint=self.world.model.fingerprint, batch_id="", method="memit"
        )
        with applied(self.world.model, delta):
            found = teacher_forced(self.world.model, self.probes, "").values()
        names = {"edit acc": "EA", "unseen acc": "PA", "neighbours": "NS", "score": "score"}
        return {k: sum(row[v] for row in found) / len(found) for k, v in names.items()}


def baseline(ladder: LadderSetup, settings: ValueSettings) -> tuple[dict[str, Any], Tensor]:
    """Public MEMIT, one fact at a time: its row of the table, and its values (edits, d)."""
    model, tokenizer = ladder.world.model.model, ladder.world.model.tokenizer
    own = {e: _public_settings(e, settings, ladder.world.model) for e in ladder.edits}
    requests = {e: vars(e) for e in ladder.edits}
    with timed() as clock:
        found = [public_memit.value(model, tokenizer, requests[e], own[e]) for e in ladder.edits]
    z = torch.stack([value for value, _ in found])
    with timed() as solve:
        parts = _public_solve(ladder, z, own, requests)
    count = count_operations(
        lambda: [
            public_memit.value(model, tokenizer, requests[e], own[e])
            for e in ladder.edits[:COUNTED]
        ]
    )
    row = _row("public, one by one", ladder, clock.seconds, solve.seconds, count)
    evaluations = sum(steps for _, steps in found) / len(found)
    return row | {"evaluations": evaluations} | ladder.quality(parts), z


def _public_settings(
    edit: Edit, settings: ValueSettings, model: EditableModel
) -> public_memit.PublicSettings:
    return public_memit.PublicSettings(
        block=f"{model.family.blocks}.{settings.z_layer}",
        context_templates=(("{}",), tuple(f"{t}. {{}}" for t in settings.templates[edit.language])),
        kl_prompt=settings.essence[edit.language],
        v_lr=settings.v_lr,
        v_num_grad_steps=settings.v_num_grad_steps,
        v_weight_decay=settings.v_weight_decay,
        clamp_norm_factor=settings.clamp_norm_factor,
        kl_factor=settings.kl_factor,
        early_stop_loss=settings.loss_threshold,
    )


def _public_solve(
    ladder: LadderSetup,
    z: Tensor,
    own: dict[Edit, public_memit.PublicSettings],
    requests: dict[Edit, Any],
) -> dict[str, Any]:
    """Public MEMIT's solve: keys fact by fact through the whole model, a dense solve per layer."""
    model, layers = ladder.world.model, sorted(ladder.moments.layers)
    edited = [
        public_memit.EditedLayer(
            module=model.family.mlp_out.format(layer),
            weight=model.weight(layer),
            second_moment=ladder.moments.layers[layer],
        )
        for layer in layers
    ]
    jobs = [(requests[e], own[e]) for e in ladder.edits]
    with weights_restored([layer.weight for layer in edited]):
        updates = public_memit.layer_updates(
            model.model, model.tokenizer, jobs, z, edited, public_memit.memit_layer(WEIGHT)
        )
    return {
        model.parameter(layer): delta_part(model, update)
        for layer, update in zip(layers, updates, strict=True)
    }


def rung(
    ladder: LadderSetup, step: Rung, model: EditableModel, settings: ValueSettings, expected: Tensor
) -> dict[str, Any]:
    """The row of a rung. expected: public MEMIT's values (edits, d)."""
    templates = {k: v[: step.prefixes] for k, v in settings.templates.items()}
    own = replace(settings, templates=templates, v_lr=settings.v_lr * (step.v_lr or 1.0))
    find: Callable[[Sequence[Edit]], dict[int, Tensor]] = lambda edits: dict(  # noqa: E731
        values_of_groups(model, groups_of(edits), own, step.compute)
    )
    with timed() as clock:
        found = find(ladder.edits)
    z = torch.cat([found[n] for n in range(len(ladder.edits))])
    with timed() as solve:
        parts = solve_layers(
            model,
            Solve(
                edits=ladder.edits,
                values=z,
                moments=ladder.moments,
                templates=settings.templates,
                solver=memit.solver(WEIGHT),
            ),
        ).parts
    row = _row(
        step.name,
        ladder,
        clock.seconds,
        solve.seconds,
        count_operations(lambda: find(ladder.edits[:COUNTED])),
    )
    exact = step.dtype == "float32" and step.prefixes == 5
    error = (z - expected).norm(dim=1) / expected.norm(dim=1) if exact else None
    if error is not None:
        row |= {"z median": float(error.median()), "z > 1e-4": int((error > 1e-4).sum())}
    return row | ladder.quality(parts)


def _row(name: str, ladder: LadderSetup, values: float, solve: float, count: int) -> dict[str, Any]:
    edits = len(ladder.edits)
    return {
        "rung": name,
        "values s": values / edits,
        "keys+solve s": solve / edits,
        "total s": (values + solve) / edits,
        "faster": None,
        "GFLOP": count / COUNTED / 1e9,
        "evaluations": None,
        "z median": None,
        "z > 1e-4": None,
    }


def run(*, edits: int = 100) -> dict[str, Any]:
    """Run the benchmark. Returns its document, with the speedup of the float32 rungs and of all."""
    world = open_world()
    chosen = EditBatch.of(public_edits(world, edits)).edits
    probes = world.probes()
    asked = tuple(p for p in probes if p.language in ("en", "es"))
    settings = public_settings(world)
    ladder = LadderSetup(
        world, chosen, asked, second_moments(world.model, world.settings, WORKSPACE)
    )
    models = {"float32": world.model, "bfloat16": load_model(paths.MODEL, dtype="bfloat16")}
    first, z = baseline(ladder, settings)
    rows = [first | {"faster": 1.0}]
    for step in RUNGS:
        row = rung(ladder, step, models[step.dtype], settings, z)
        rows.append(row | {"faster": first["total s"] / row["total s"]})
        report_progress(rows[-1])
    rates = {k: matrix_rate("cpu", getattr(torch, k)) for k in models}
    for row, dtype in zip(rows, ["float32", *(step.dtype for step in RUNGS)], strict=True):
        row["share of the attainable"] = row["GFLOP"] * 1e9 / row["values s"] / rates[dtype]
    return document(
        "edit",
        "cpu",
        rows,
        edits=len(chosen),
        matrix_gflops={k: round(v / 1e9) for k, v in rates.items()},
        speedup_same_values=rows[4]["faster"],
        speedup=rows[-1]["faster"],
    )


def report_progress(row: dict[str, Any]) -> None:
    """Print one line on stderr, because the run takes minutes."""
    print(
        f"{row['rung']}: {row['total s']:.3f} s an edit, x {row['faster']:.1f}",
        file=sys.stderr,
        flush=True,
    )
