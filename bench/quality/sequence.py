"""Twenty batches one after the other: what is left of the first, of all, and of other facts?

    python -m factd.bench.quality.sequence [--batches 20] [--size 10] [--json FILE] [--plot FILE]

Known facts of the reference world, in English, get the object of another fact (as in CounterFact).
Measured after every batch:
- score: harmonic mean of ES, PS and NS over all edits so far
- retention: greedy answers to the first batch
- kept: greedy answers to a sample of known facts that were never edited
- the norm of the edited weights The ledger form solves all edits so far at once, from the base. The
  other methods edit the weights that the last batch left.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from factd.bench.quality.world import (
    WORKSPACE,
    BenchWorld,
    open_world,
    save,
    saved,
    table,
    teacher_forced,
)
from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import ANY, Edit, EditBatch
from factd.editor.methods import alphaedit, fine_tuning, memit
from factd.editor.methods._write import language_templates
from factd.editor.models.model import EditableModel
from factd.editor.models.weights import weights_restored
from factd.editor.scoring.judge import SortedNames, is_right, longer_names
from factd.editor.scoring.score import Probe, greedy_answers
from factd.editor.settings import settings_from
from factd.editor.solving.layers import delta_part
from factd.editor.tuning.known import known_facts
from factd.editor.tuning.trials import KnownFact, contrast_probe

KEPT = 120
WEIGHT = 300.0


@dataclass(frozen=True)
class BatchResult:
    """The measurements after a batch."""

    method: str
    batch: int
    score: float
    retention: float  # share of the first batch that is still answered with the new object
    kept: float  # share of unedited known facts that are still answered right
    norm: float  # highest ‖W‖ / ‖W_base‖ of the edited weights


@dataclass(frozen=True)
class EditSequence:
    """The batches, and the facts and probes that are asked after each."""

    batches: tuple[EditBatch, ...]
    facts: tuple[KnownFact, ...]  # edited, in the order of the batches
    neighbours: tuple[Probe, ...]
    kept: tuple[Edit, ...]  # known facts that are never edited


def edit_sequence(world: BenchWorld, *, batches: int, size: int) -> EditSequence:
    """A sequence of batches of facts that the model knows, spread over the relations."""
    rows = [
        Edit(
            prompt=prompt,
            subject=fact.subject.labels["en"],
            target_new=ANY,
            target_true=fact.object.labels["en"],
        )
        for fact in world.known
        for prompt in (
            *world.catalogue[fact.relation].wordings["en"].edit[:1],
            *world.catalogue[fact.relation].wordings["en"].check[:1],
        )
    ]
    facts = known_facts(rows)
    said = greedy_answers(world.model, [k.edit.prompt.format(k.edit.subject) for k in facts])
    names = SortedNames(str(k.edit.target_true) for k in facts)
    sure = [
        k
        for k, text in zip(facts, said, strict=True)
        if gives(text, str(k.edit.target_true), names)
    ]
    edited, rest = sure[: batches * size], sure[batches * size :]
    parts = [edited[i : i + size] for i in range(0, len(edited), size)]
    new = {k.edit.prompt: k.edit.target_new for k in edited}
    neighbours = [
        contrast_probe(
            "neighbourhood", k.edit, k.edit.prompt, str(k.edit.target_true), new[k.edit.prompt]
        )
        for k in rest
        if new.get(k.edit.prompt) not in (None, k.edit.target_true)
    ]
    return EditSequence(
        tuple(EditBatch.of(k.edit for k in part) for part in parts),
        tuple(edited),
        tuple(neighbours[:KEPT]),
        tuple(k.edit for k in rest[:KEPT]),
    )


def measure(
    world: BenchWorld, task: EditSequence, method: str, number: int, delta: Delta, size: int
) -> BatchResult:
    """The row after a batch; it is printed too.

    number: of batches so far; size: edits per batch.
    """
    done = task.facts[: number * size]
    probes = list(task.neighbours)
    for known in done:
        e = known.edit
        for kind, prompt in (("edit", e.prompt), *(("paraphrase", p) for p in known.paraphrases)):
            probes.append(contrast_probe(kind, e, prompt, e.target_new, str(e.target_true)))
    first = [k.edit for k in task.facts[:size]]
    with applied(world.model, delta):
        scores = teacher_forced(world.model, probes, world.settings.terminator)["en"]
        said = greedy_answers(
            world.model, [e.prompt.format(e.subject) for e in (*first, *task.kept)]
        )
    names = SortedNames(str(e.target_true) for e in (*task.kept, *(k.edit for k in task.facts)))
    right = [gives(t, e.target_new, names) for t, e in zip(said, first, strict=False)]
    kept = [
        gives(t, str(e.target_true), names) for t, e in zip(said[size:], task.kept, strict=True)
    ]
    found = BatchResult(
        method, number, scores["score"], fmean(right), fmean(kept), norm_of(world.model, delta)
    )
    print(
        f"{method:<24} {number:>2}  score {found.score:.3f}  first batch {found.retention:.2f}  "
        f"kept {found.kept:.3f}  norm {found.norm:.3f}",
        flush=True,
    )
    return found


def gives(text: str, label: str, names: SortedNames) -> bool:
    """Whether an answer gives a label and no longer one of the names."""
    return is_right(text, (label,), longer=longer_names((label,), names))


def norm_of(model: EditableModel, delta: Delta) -> float:
    """The highest ‖W + ΔW‖ / ‖W‖ of the changed weights."""
    weights = {name: model.model.get_parameter(name).detach() for name in delta.parts}
    return max(float((w + delta.parts[n].matrix()).norm() / w.norm()) for n, w in weights.items())


def ledger(world: BenchWorld, task: EditSequence) -> list[Delta]:
    """The ledger form: after every batch one solve over all edits so far, from the base."""
    return [
        memit.edit(
            world.model,
            EditBatch.of(e for batch in task.batches[: n + 1] for e in batch.edits),
            settings=replace(world.settings, second_moment_weight=WEIGHT),
            workspace=WORKSPACE,
        )
        for n in range(len(task.batches))
    ]


def sequential(world: BenchWorld, task: EditSequence) -> list[Delta]:
    """Public MEMIT: every batch edits the weights that the last one left.

    Earlier batches are not in the solve.
    """
    settings = replace(world.settings, second_moment_weight=WEIGHT)
    return memit.sequential(
        world.model, task.batches, settings=settings, workspace=WORKSPACE, history=False
    )


def null_space(world: BenchWorld, task: EditSequence) -> list[Delta]:
    """AlphaEdit (arXiv:2410.02355) with its history of earlier keys."""
    held = {
        k: v
        for k, v in vars(world.settings).items()
        if k not in ("second_moment_weight", "protect_weight")
    }
    settings = settings_from(
        alphaedit.Settings, {**held, "nullspace_threshold": THRESHOLD, "ridge": RIDGE}
    )
    return alphaedit.sequential(
        world.model, task.batches, settings=settings, workspace=WORKSPACE, history=True
    )


THRESHOLD, RIDGE = (
    0.5,
    10.0,
)  # of the second moment of this model; the paper's 0.02 is of others. 20 keeps 7 points less
LR, EPOCHS, FT_LAYER = 3e-3, 20, 2  # at 3e-4, 10 epochs write nothing; at 3e-3 a tenth of a batch


def fine_tuned(world: BenchWorld, task: EditSequence) -> list[Delta]:
    """One MLP matrix, fine-tuned on every batch; each epoch covers the whole batch."""
    model = world.model
    settings = fine_tuning.Settings(
        layers=(FT_LAYER,),
        lr=LR,
        epochs=EPOCHS,
        templates=world.settings.templates,
        terminator=world.settings.terminator,
    )
    templates = language_templates(model, {"en"}, settings.templates, seed=0)
    weight, found = model.weight(FT_LAYER), []
    before = weight.detach().clone()
    with weights_restored([weight]):
        for batch in task.batches:
            fine_tuning.train(model, batch.edits, settings, templates)
            parts = {model.parameter(FT_LAYER): delta_part(model, weight.detach() - before)}
            found.append(
                Delta(
                    parts=parts,
                    base_fingerprint=model.fingerprint,
                    batch_id=batch.id,
                    method="fine_tuning",
                )
            )
    return found


METHODS: dict[str, Callable[[BenchWorld, EditSequence], list[Delta]]] = {
    "MEMIT, ledger": ledger,
    "MEMIT, sequential": sequential,
    "AlphaEdit, sequential": null_space,
    "fine-tuning": fine_tuned,
}


def plot(rows: Sequence[BatchResult], path: Path) -> None:
    """Plot the four measures over the batches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6))
    names = ("score", "retention", "kept", "norm")
    titles = ("score", "first batch, still answered", "unedited facts kept", "‖W‖ / ‖W base‖")
    for axes, name, title in zip(figure.subplots(2, 2).flat, names, titles, strict=True):
        for method in dict.fromkeys(row.method for row in rows):
            chosen = [row for row in rows if row.method == method]
            axes.plot([r.batch for r in chosen], [getattr(r, name) for r in chosen], label=method)
        axes.set_title(title)
        axes.set_xlabel("batches")
    figure.axes[0].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def earlier_rows(path: Path | None) -> list[BatchResult]:
    """The rows of an earlier run in a JSON file. Its methods are not measured again."""
    return [BatchResult(**row) for row in saved(path) or ()]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--size", type=int, default=10)
    parser.add_argument("--methods", nargs="*", default=list(METHODS))
    parser.add_argument("--every", type=int, default=1, help="measure after every so many batches")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    world = open_world()
    task = edit_sequence(world, batches=options.batches, size=options.size)
    rows = earlier_rows(options.json)
    for name in options.methods:
        if name in {row.method for row in rows}:
            continue
        for number, delta in enumerate(METHODS[name](world, task), start=1):
            if number % options.every == 0:
                rows.append(measure(world, task, name, number, delta, options.size))
        save(options.json, "sequence", [asdict(row) for row in rows])
    if options.plot:
        plot(rows, options.plot)
    last: list[dict[str, Any]] = [asdict(r) for r in rows if r.batch == len(task.batches)]
    print(table(last))


if __name__ == "__main__":
    main()
