"""What the benchmarks measure with: the reference world, the base model, probes."""

import json
import math
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp
from pathlib import Path
from statistics import fmean
from typing import Any

from factd.bench.measure import code_digest, environment
from factd.daemon.app import build
from factd.daemon.configuration import load_config
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.prompts import edits
from factd.daemon.prompts import probes as probing
from factd.editor.edits import EditBatch
from factd.editor.methods import memit
from factd.editor.models.model import EditableModel, load_model
from factd.editor.scoring.intervals import harmonic_mean
from factd.editor.scoring.score import Probe, forced_scores
from factd.editor.settings import settings_from
from factd.reference import paths
from factd.store import queries
from factd.store.catalogue.catalogue import Catalogue
from factd.store.database import migrate
from factd.store.model.facts import Fact, FactStatus

WORKSPACE = paths.ROOT.parent / "run" / "bench"


@dataclass(frozen=True)
class BenchWorld:
    """The reference world, its model, and the settings for writing and asking facts."""

    model: EditableModel
    catalogue: Catalogue
    facts: tuple[Fact, ...]  # the feed: the facts to write
    old: dict[str, Fact]  # fact id -> the fact that the base knows instead
    known: tuple[Fact, ...]
    plan: edits.PromptSettings
    settings: memit.Settings

    def batch(self, *languages: str) -> EditBatch:
        """The edits of the feed in some languages."""
        found = edits.edit_batch(self.facts, self.old, self.plan)
        return EditBatch.of(e for e in found.edits if e.language in languages)

    def probes(self) -> tuple[Probe, ...]:
        """Probes about the feed, and about facts that must not change."""
        context = probing.FactContext(new=self.facts, before=self.old, known=self.known)
        return (
            *probing.batch_probes(context, self.plan),
            *probing.still_valid_probes(probing.known_fact_probes(self.known, self.plan), context),
        )


def open_world(
    *,
    neighbours: int = 1,
    known_sample: int | None = None,
    feed: Path = paths.FEED,
    model: EditableModel | None = None,
) -> BenchWorld:
    """Ingest the world and a feed, and load the reference model.

    neighbours: probes per fact; known_sample: facts per language that must not change; model: the
    reference model if it is loaded already.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "factd.toml").write_text(
            f'[model]\npath = "{paths.MODEL}"\n' + paths.SETTINGS.read_text()
        )
        config = load_config(folder / "factd.toml")
        migrate.upgrade(config.database)
        app = build(config)
        store, catalogue = app.ledger.store, app.prompts.catalogue
        for path, known in ((paths.FACTS, True), (feed, False)):
            ingest_file(app.ledger, app.prompts, path, known=known)
        with store.begin() as session:
            facts = tuple(queries.facts.candidate_set(session))
            old = queries.facts.base_counterparts(session, facts)
            known_facts = tuple(queries.facts.list_facts(session, status=(FactStatus.KNOWN,)))
        store.close()
    known_sample = known_sample or config.checks.known_sample
    sizes = replace(app.prompts.sizes, known=known_sample, neighbours=neighbours)
    plan = replace(app.prompts, sizes=sizes)
    table = tomllib.loads(paths.SETTINGS.read_text())["method"]["memit"]
    settings = settings_from(memit.Settings, table)
    model = model or load_model(paths.MODEL)
    return BenchWorld(model, catalogue, facts, old, known_facts, plan, settings)


def teacher_forced(
    model: EditableModel, probes: Sequence[Probe], terminator: str
) -> dict[str, dict[str, float]]:
    """Teacher-forced measures by language. They are quick, because nothing is generated.

    Success, accuracy and magnitude of the edit prompts (ES, EA, EM), of paraphrases (PS, PA, PM)
    and of neighbours (NS, NA, NM), and the score (docs/explanation/editing.md §5).
    """
    asked = [p for p in probes if p.contrast and p.kind in ("edit", "paraphrase", "neighbourhood")]
    target = forced_scores(model, [(p.prompt, p.target + terminator) for p in asked])
    rival = forced_scores(model, [(p.prompt, f"{p.contrast}{terminator}") for p in asked])
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for probe, (nll, hit), (other, _) in zip(asked, target, rival, strict=True):
        row, kind = found[probe.language], probe.kind[0].upper()
        row[f"{kind}S"].append(float(nll < other))
        row[f"{kind}A"].append(float(hit))
        row[f"{kind}M"].append(exp(-nll) - exp(-other))
    means = {k: {name: fmean(v) for name, v in rows.items()} for k, rows in found.items()}
    return {k: m | {"score": harmonic_mean([m["ES"], m["PS"], m["NS"]])} for k, m in means.items()}


def interpolate(curve: Sequence[tuple[float, float]], x: float) -> float:
    """The y of a curve of (x, y) points at x, linear between the points; nan outside of them."""
    points = sorted(curve)
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 <= x <= x1:
            return max(y0, y1) if x0 == x1 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return math.nan


def held_out() -> dict[str, list[str]]:
    """Texts that the model was not trained on, by language."""
    return {
        file.stem: file.read_text(encoding="utf-8").splitlines()
        for file in sorted(paths.HELD_OUT.glob("*.txt"))
    }


def save(path: Path | None, name: str, results: Any) -> None:
    """Write the results of a benchmark as JSON, with machine, command and date.

    Does nothing if path is None.
    """
    if path is not None:
        whole = {"benchmark": name, **environment("cpu"), "results": results}
        text = json.dumps(whole, ensure_ascii=False, indent=1, default=str)
        path.write_text(text + "\n", encoding="utf-8")


def saved(path: Path | None) -> Any:
    """The results of an earlier, interrupted run of the same code; None if there are none."""
    if path is None or not path.exists():
        return None
    whole = json.loads(path.read_text(encoding="utf-8"))
    return whole["results"] if whole.get("code") == code_digest() else None


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a Markdown table. Numbers have three decimals."""
    head = list(rows[0])
    cells = [[f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
