"""The whole transfer matrix T[s→t]: facts written in one language alone, asked in every served one.

A candidate writes a fact in several languages at once, so its own answers show little transfer.
Here the edits of each language are solved alone, from the candidate's values. This costs one solve
and one round of questions per language.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from factd.editor.checks import (
    Measurement,
    ProbeAnswers,
    answered_right,
    is_accurate,
    measure_share,
)
from factd.editor.deltas.delta import Delta
from factd.editor.edits import EditBatch
from factd.editor.exams.exam import answers_with
from factd.editor.methods._write import delta_identity, second_moments, templates_for
from factd.editor.methods.memit import MemitSettings, solver
from factd.editor.models.model import EditableModel
from factd.editor.scoring.score import Answer, Probe
from factd.editor.solving.layers import Solve, solve_layers
from factd.editor.values.cache import values_for


def transfer_matrix(
    model: EditableModel,
    batch: EditBatch,
    probes: Sequence[Probe],
    before: Sequence[Answer],
    *,
    settings: MemitSettings,
    workspace: Path,
) -> tuple[Measurement, ...]:
    """Accuracy and generation for every pair of a written and an asked language.

    Measured on the probes of the kind "edit". before: the base model's answers, one per probe.

    Raises: SingularSystem, DamagedArtefact: as `values_for` and `solve_layers`.
    """
    asked = [(p, b) for p, b in zip(probes, before, strict=True) if p.kind == "edit"]
    measured: list[Measurement] = []
    for source, delta in deltas_by_language(model, batch, settings, workspace):
        after = answers_with(model, [p for p, _ in asked], delta, settings.terminator)
        rows = [
            ProbeAnswers(probe=p, before=b, after=a) for (p, b), a in zip(asked, after, strict=True)
        ]
        for target in sorted({row.probe.language for row in rows}):
            own = [row for row in rows if row.probe.language == target]
            name = f"{source}→{target}"
            measured.append(measure_share("transfer", "accuracy", name, own, is_accurate))
            measured.append(measure_share("transfer", "generation", name, own, answered_right))
    return tuple(measured)


def deltas_by_language(
    model: EditableModel, batch: EditBatch, settings: MemitSettings, workspace: Path
) -> Iterator[tuple[str, Delta]]:
    """(language, the delta of this language's edits alone) for every language of a batch."""
    templates = templates_for(model, batch, settings)
    values = values_for(model, batch, settings.values(templates), workspace)
    moments = second_moments(model, settings, workspace)
    for language in sorted({edit.language for edit in batch.edits}):
        rows = [n for n, edit in enumerate(batch.edits) if edit.language == language]
        own = EditBatch(tuple(batch.edits[n] for n in rows))
        solve = Solve(
            edits=own.edits,
            values=values[rows],
            moments=moments,
            templates=templates,
            solver=solver(settings.second_moment_weight),
            split_openings=settings.split_openings,
            replayed=settings.targets == "replay",
            memory_gib=settings.solve_memory_gib,
        )
        solution = solve_layers(model, solve)
        identity = delta_identity(model, own, "memit", settings, templates)
        yield language, Delta(parts=solution.parts, **identity)
