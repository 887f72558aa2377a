"""The trade-off between new facts learned and known facts kept, on the reference world.

    python -m factd.bench.quality.frontier [--weights 300 1000 3000] [--public 1000]
        [--json FILE] [--plot FILE]

One row per setting. The ledger form is measured with the settings of reference/settings.toml at
several second-moment weights. Public MEMIT is measured on the same model: one wording, six
templates, batches of ten facts one after the other.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factd.bench.quality.world import WORKSPACE, BenchWorld, open_world, save
from factd.daemon.prompts import edits
from factd.editor.deltas.delta import Delta
from factd.editor.edits import EditBatch
from factd.editor.exams.exam import Exam, ExamResults, take_exam
from factd.editor.exams.report import CheckReport, run_checks
from factd.editor.methods import memit
from factd.editor.scoring.intervals import harmonic_mean

COLUMNS = (
    ("edit", "efficacy", "generation"),
    ("unseen", "paraphrase", "generation"),
    ("kept", "known_facts", "kept"),
    ("accuracy", "efficacy", "accuracy"),
    ("magnitude", "efficacy", "magnitude"),
)


@dataclass(frozen=True)
class FrontierSetup:
    """The reference world, its exam, and the base model's results."""

    world: BenchWorld
    exam: Exam
    base: ExamResults


def prepare() -> FrontierSetup:
    """Open the world, and put the exam to the base model."""
    world = open_world()
    probes = world.probes()
    exam = Exam(probes=probes)
    return FrontierSetup(
        world, exam, take_exam(world.model, exam, terminator=world.settings.terminator)
    )


def row(bench: FrontierSetup, name: str, delta: Delta) -> dict[str, Any]:
    """The row of a delta, with its numbers by language. It is printed too."""
    report = run_checks(
        bench.world.model,
        bench.exam,
        delta=delta,
        terminator=bench.world.settings.terminator,
        base=bench.base,
    )
    languages = {k: figures(report, k) for k in bench.world.plan.served}
    for language, values in languages.items():
        said = "  ".join(f"{key} {value:.3f}" for key, value in values.items())
        print(f"{name:<34} {language}  {said}", flush=True)
    return {"name": name, "languages": languages}


def figures(report: CheckReport, language: str) -> dict[str, float]:
    """The columns of a row in one language."""
    found = {name: value(report, check, metric, language) for name, check, metric in COLUMNS}
    parts = [
        value(report, check, "success", language)
        for check in ("efficacy", "paraphrase", "neighbourhood")
    ]
    return {**found, "score": harmonic_mean(parts)}


def value(report: CheckReport, check: str, metric: str, language: str) -> float:
    """The value of one measurement; nan if it was not made."""
    found = report.value(check, metric, language)
    return found.value if found else float("nan")


def ledger(bench: FrontierSetup, weight: float) -> Delta:
    """The delta of the ledger form: one solve over all facts. weight: of the second moment."""
    batch = edits.edit_batch(bench.world.facts, bench.world.old, bench.world.plan)
    settings = replace(bench.world.settings, second_moment_weight=weight)
    return memit.edit(bench.world.model, batch, settings=settings, workspace=WORKSPACE)


def public(bench: FrontierSetup, weight: float, size: int = 10) -> Delta:
    """The delta of public MEMIT: one wording, six templates, batches one after the other.

    Only the essence row is kept. weight: of the second moment.
    """
    plan = replace(bench.world.plan, edit_wordings=1, keep_wordings=0)
    parts = [bench.world.facts[i : i + size] for i in range(0, len(bench.world.facts), size)]
    batches = [
        EditBatch.of(replace(e, group="") for e in edits.edit_batch(p, bench.world.old, plan).edits)
        for p in parts
    ]
    settings = replace(
        bench.world.settings,
        second_moment_weight=weight,
        share_wordings=False,
        whole_target=False,
        split_openings=False,
        protect_weight=0.0,
        terminator="",
        loss_threshold=0.05,
        v_num_grad_steps=25,
    )
    found = memit.sequential(
        bench.world.model, batches, settings=settings, workspace=WORKSPACE, history=False
    )
    return found[-1]


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot right answers to unseen wordings against known facts kept; top right is better."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for language in rows[0]["languages"]:
        for kind, mark in (("ledger", "o-"), ("public", "x")):
            chosen = [r["languages"][language] for r in rows if r["name"].startswith(kind)]
            label = f"{language}, {kind}"
            axes.plot([r["kept"] for r in chosen], [r["unseen"] for r in chosen], mark, label=label)
    axes.set_xlabel("known facts kept")
    axes.set_ylabel("right answers, wordings that no edit used")
    axes.axvline(0.95, color="grey", linewidth=0.5)
    axes.axhline(0.75, color="grey", linewidth=0.5)
    axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=float, nargs="*", default=[300.0, 1000.0, 3000.0])
    parser.add_argument("--public", type=float, nargs="*", default=[1000.0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    bench = prepare()
    rows = [row(bench, f"ledger, weight {w:g}", ledger(bench, w)) for w in options.weights]
    rows += [row(bench, f"public, weight {w:g}", public(bench, w)) for w in options.public]
    save(options.json, "frontier", rows)
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
