"""The trade-off between what an edit writes and what it spares, on the reference world.

    python -m bench.frontier [--weights 300 1000 3000] [--public 1000] [--json FILE] [--plot FILE]

One line per setting: the ledger form with the settings of reference/settings.toml at several second-moment weights,
and public MEMIT's way (one wording, six templates, batches of ten facts one after the other) on the same model.
"""

import argparse
import json
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from daemon import render
from daemon.config import load_config
from editor.delta import Delta
from editor.edits import EditBatch
from editor.intervals import harmonic_mean
from editor.methods import memit
from editor.model import EditableModel, load_model
from editor.report import CheckReport, run_checks
from editor.score import Answer, Probe, answers
from editor.settings import settings_from
from reference import paths
from store import fact_queries, migrate
from store.catalogue import load_catalogue
from store.facts import Fact, FactStatus
from store.session import Store
from store.updates import read_updates

COLUMNS = (
    ("edit", "efficacy", "generation"),
    ("unseen", "paraphrase", "generation"),
    ("kept", "known_facts", "kept"),
    ("accuracy", "efficacy", "accuracy"),
    ("magnitude", "efficacy", "magnitude"),
)


@dataclass(frozen=True)
class Bench:
    """The reference world in a store, and the base model with its answers."""

    model: EditableModel
    facts: tuple[Fact, ...]
    old: dict[str, Fact]
    plan: render.Plan
    settings: memit.Settings
    probes: tuple[Probe, ...]
    base: tuple[Answer, ...]
    workspace: Path


def prepare(folder: Path) -> Bench:
    """Ingest the world and the feed, ask the base model."""
    (folder / "factd.toml").write_text(
        f'[model]\npath = "{paths.MODEL}"\n' + paths.SETTINGS.read_text()
    )
    config = load_config(folder / "factd.toml")
    migrate.upgrade(config.database)
    store, catalogue, now = Store(config.database), load_catalogue(), datetime.now(UTC)
    with store.begin() as session:
        for path, known in ((paths.FACTS, True), (paths.FEED, False)):
            fact_queries.ingest(
                session,
                read_updates(path, catalogue),
                catalogue,
                file=path.name,
                now=now,
                known=known,
            )
        facts = tuple(fact_queries.candidate_set(session))
        old = fact_queries.previous(session, facts)
        known_facts = fact_queries.list_facts(session, status=(FactStatus.KNOWN,))
    store.close()
    plan = render.Plan(
        catalogue=catalogue,
        write=config.write.languages,
        served=config.served,
        edit_wordings=config.write.edit_wordings,
        keep_wordings=config.write.keep_wordings,
        known_sample=config.checks.known_sample,
        neighbours=1,
    )
    settings = settings_from(
        memit.Settings, tomllib.loads(paths.SETTINGS.read_text())["method"]["memit"]
    )
    model = load_model(paths.MODEL)
    probes = render.probes(facts, old, known_facts, plan)
    base = answers(model, probes, terminator=settings.terminator)
    return Bench(
        model, facts, old, plan, settings, probes, base, paths.ROOT.parent / "run" / "bench"
    )


def row(bench: Bench, name: str, delta: Delta) -> dict[str, Any]:
    """One line of the table, per language."""
    report = run_checks(
        bench.model,
        bench.probes,
        delta=delta,
        terminator=bench.settings.terminator,
        before=bench.base,
    )
    languages = {k: figures(report, k) for k in bench.plan.served}
    for language, values in languages.items():
        said = "  ".join(f"{key} {value:.3f}" for key, value in values.items())
        print(f"{name:<34} {language}  {said}", flush=True)
    return {"name": name, "languages": languages}


def figures(report: CheckReport, language: str) -> dict[str, float]:
    """The columns in one language."""
    found = {name: value(report, check, metric, language) for name, check, metric in COLUMNS}
    parts = [
        value(report, check, "success", language)
        for check in ("efficacy", "paraphrase", "neighbourhood")
    ]
    return {**found, "score": harmonic_mean(parts)}


def value(report: CheckReport, check: str, metric: str, language: str) -> float:
    """One measurement, nan where it was not made."""
    found = report.value(check, metric, language)
    return found.value if found else float("nan")


def ledger(bench: Bench, weight: float) -> Delta:
    """One solve over all facts."""
    batch = render.edit_batch(bench.facts, bench.old, bench.plan)
    settings = replace(bench.settings, second_moment_weight=weight)
    return memit.edit(bench.model, batch, settings=settings, workspace=bench.workspace)


def public(bench: Bench, weight: float, size: int = 10) -> Delta:
    """One wording, six templates, batches of ten facts one after the other, nothing kept beside the essence row."""
    plan = replace(bench.plan, edit_wordings=1, keep_wordings=0)
    parts = [bench.facts[i : i + size] for i in range(0, len(bench.facts), size)]
    batches = [
        EditBatch.of(replace(e, group="") for e in render.edit_batch(p, bench.old, plan).edits)
        for p in parts
    ]
    settings = replace(
        bench.settings,
        second_moment_weight=weight,
        share_wordings=False,
        whole_target=False,
        split_openings=False,
        protect_weight=0.0,
        terminator="",
        loss_threshold=0.05,
        v_num_grad_steps=25,
    )
    found = memit.sequential(bench.model, batches, settings=settings, workspace=bench.workspace)
    return found[-1]


def plot(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Unseen wordings against known facts kept: up and to the right is better."""
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
    with tempfile.TemporaryDirectory() as folder:
        bench = prepare(Path(folder))
    rows = [row(bench, f"ledger, weight {w:g}", ledger(bench, w)) for w in options.weights]
    rows += [row(bench, f"public, weight {w:g}", public(bench, w)) for w in options.public]
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot(rows, options.plot)


if __name__ == "__main__":
    main()
