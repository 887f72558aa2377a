"""Planted disasters: are they caught, are the right facts set aside, do clean batches pass?

    factd bench disasters [--only TEXT] [--clean 40] [--json]

Every scenario has a state of its own on the reference model: the world of 1998, a batch, and the
real steps of an edit. A change of the feed is "clean" if two conditions hold:
- Written alone, it is answered in every written language, and at least two in three of its
  namesakes keep their answers. (An edit of "Canary Islands" also changes the currency of other
  islands.)
- It is answered when all such changes are written at once.
The gates exist for the other changes; the document counts them.
"""

import hashlib
import json
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from inspect import getsource
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from factd.bench.gates.planted import KINDS, Scenario, ScenarioWorld, Update
from factd.bench.gates.summary import by_kind
from factd.bench.measure import document
from factd.bench.quality.world import WORKSPACE
from factd.daemon.app import App, build
from factd.daemon.configuration import load_config
from factd.daemon.editing import candidates
from factd.daemon.errors import FactdError, Refused
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.log import log
from factd.daemon.prompts import edits
from factd.daemon.publishing import publish
from factd.daemon.tasks.edit import plan_and_edit
from factd.daemon.workbench import Workbench
from factd.editor.edits import EditBatch
from factd.editor.files.folders import write_folder
from factd.editor.heads.corrections import HeadCorrections, save_corrections
from factd.editor.methods._write import templates_for
from factd.editor.values.cache import folder_of, values_for
from factd.reference import paths
from factd.store import queries
from factd.store.catalogue import catalogue
from factd.store.database import migrate
from factd.store.model.facts import Fact
from factd.store.model.releases import Release

SHARED = WORKSPACE / "disasters"
WRITTEN = ("en", "es", "ca")
CHANGES = (
    ('languages = ["en", "es", "ca", "fr"]', 'languages = ["en", "es", "ca"]'),
    ("known_sample = 120", 'known_sample = 120\nlanguages = ["en", "es", "ca", "fr"]'),
    ("v_num_grad_steps = 11", "v_num_grad_steps = 25"),
    ("loss_threshold = 0.1", "loss_threshold = 0.05"),
)
SMALL_BATCHES = (  # gates nearer to the defaults, and a smaller weight of old keys for few edits
    ("fact_right = 0.0", "fact_right = 0.25"),
    ("known_kept = {least = 0.90, surely = 0.80, sample = 60}", "known_kept = 0.90"),
    ("known_lost = 0.12", "known_lost = {most = 0.06, surely = 0.14}"),
    (
        'namesakes_kept = {least = 0.60, doubt = "passes", sample = 8}',
        'namesakes_kept = {least = 0.75, doubt = "passes", sample = 8}',
    ),
    ("second_moment_weight = 1200.0", "second_moment_weight = 100.0"),
)


@dataclass(frozen=True)
class ScenarioOutcome:
    """The result of one scenario."""

    name: str
    caught: bool  # no guilty fact is in the release, and a reason was given
    right: bool  # exactly the guilty facts were set aside
    published: bool  # all other facts are in an accepted release
    solves: int
    seconds: float
    told: str  # the reasons that were given

    def as_row(self) -> dict[str, Any]:
        """The row of the table."""
        return {
            "scenario": self.name,
            "caught": self.caught,
            "right facts": self.right,
            "others published": self.published,
            "blame solves": self.solves,
            "seconds": self.seconds,
            "told": self.told,
        }


@dataclass
class PreparedState:
    """A prepared state with the world of 1998, which every scenario copies, and the base model."""

    folder: Path
    changes: tuple[tuple[str, str], ...] = CHANGES + SMALL_BATCHES
    workbench: Workbench | None = None

    def config_text(self) -> str:
        """The reference settings with the languages and strength of this benchmark."""
        text = paths.SETTINGS.read_text(encoding="utf-8")
        for old, new in self.changes:
            assert old in text, old
            text = text.replace(old, new)
        texts = "\n".join(f'{f.stem} = "{f}"' for f in sorted(paths.HELD_OUT.glob("*.txt")))
        head = f'[model]\npath = "{paths.MODEL}"\n[checks.texts]\n{texts}\n'
        return head + text + "\n[planning]\nask_samples = 0\n"

    @contextmanager
    def app(self, *, own_values: bool = False, relations: Path | None = None) -> Iterator[App]:
        """A fresh state with the world of 1998 in it."""
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            home = Path(name)
            text = self.config_text()
            if relations:
                text = text.replace("[write]", f'[write]\ncatalogue = ["{relations}"]', 1)
            (home / "factd.toml").write_text(text, encoding="utf-8")
            state = home / "state"
            if (self.folder / "template").exists():
                shutil.copytree(self.folder / "template", state)
            state.mkdir(exist_ok=True)
            work = state / "workspace"
            if own_values:
                work.mkdir()
                (work / "moments").symlink_to(SHARED / "moments")
                shutil.copytree(SHARED / "values", work / "values")
            else:
                work.symlink_to(SHARED)
            found = build(load_config(home / "factd.toml"))
            self.workbench = self.workbench or found.workbench
            yield replace(found, workbench=self.workbench)
            found.ledger.store.close()

    def prepare(self) -> None:
        """Ingest the world of 1998 once."""
        SHARED.mkdir(parents=True, exist_ok=True)
        with self.app() as app:
            migrate.upgrade(app.config.database)
            ingest_file(app.ledger, app.prompts, paths.FACTS, known=True)
            app.ledger.store.close()
            shutil.copytree(
                app.config.state_dir,
                self.folder / "template",
                ignore=shutil.ignore_patterns("workspace"),
            )


def updates(path: Path) -> list[Update]:
    """The updates in a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ingest_batch(app: App, batch: Sequence[Update]) -> None:
    """Ingest a batch of updates."""
    file = app.config.root / "batch.jsonl"
    lines = (json.dumps(update, ensure_ascii=False) for update in batch)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = ingest_file(app.ledger, app.prompts, file)
    assert not report.bad, report.bad


def writable_updates(lab: PreparedState) -> list[Update]:
    """The clean changes of the feed (see the module docstring), cached in a file."""
    found = []
    feed = updates(paths.FEED)
    name = hashlib.sha256(
        f"{lab.config_text()} {feed} {getsource(writable_updates)}".encode()
    ).hexdigest()
    kept = SHARED / f"clean-{name[:16]}.json"
    if kept.exists():
        held = set(json.loads(kept.read_text()))
        return [update for update in feed if update["revision"] in held]
    with lab.app() as app:
        ingest_batch(app, feed)
        live = candidates.live_release(app.ledger)
        with app.ledger.begin() as session:
            facts = queries.facts.candidate_set(session)
        compute_values(app, facts)
        for fact in facts:
            case = candidates.propose(
                app.ledger, app.paths, app.workbench, app.prompts, [fact], live
            )
            kinds = ("edit", "paraphrase", "namesake", "neighbourhood")
            probes = tuple(p for p in case.exam.probes if p.kind in kinds)
            delta = candidates.solve(app.workbench, case.batch)
            exam = replace(case.exam, probes=probes, texts={}, questions={})
            said = candidates.examine(
                app.paths, app.workbench, app.prompts, app.gates, case, delta, exam=exam, only=()
            )
            written = [row for row in said.report["facts"] if row["written"]]
            taken = all(row["right"] * 2 >= row["asked"] for row in written)
            if taken and said.decision.accepted and spares_namesakes(said.report):
                found.append(fact)
        held = revisions_answered_together(app, found, live)
    kept.write_text(json.dumps(sorted(held)))
    return [update for update in feed if update["revision"] in held]


def revisions_answered_together(app: App, facts: Sequence[Fact], live: Release) -> set[str]:
    """The revisions of facts that are answered in every language if all are written at once."""
    case = candidates.propose(app.ledger, app.paths, app.workbench, app.prompts, facts, live)
    probes = tuple(p for p in case.exam.probes if p.kind in ("edit", "paraphrase"))
    exam = replace(case.exam, probes=probes, texts={}, questions={})
    delta = candidates.solve(app.workbench, case.batch)
    rows = candidates.examine(
        app.paths, app.workbench, app.prompts, app.gates, case, delta, exam=exam, only=()
    ).report["facts"]
    lost = {r["fact"] for r in rows if r["written"] and r["right"] * 2 < r["asked"]}
    return {fact.update.revision for fact in facts if fact.id not in lost}


def spares_namesakes(report: Mapping[str, Any]) -> bool:
    """Whether at least two in three of the namesakes keep their answers."""
    kept = {(m["check"], m["metric"]): m["value"] for m in report["measurements"]}
    return bool(kept.get(("namesakes", "kept"), 1.0) >= 2 / 3)


def compute_values(app: App, facts: Sequence[Fact]) -> None:
    """Compute and cache the values of all facts at once, which is faster than one by one."""
    with app.ledger.begin() as session:
        before = queries.facts.base_counterparts(session, facts)
    batch = edits.edit_batch(facts, before, app.prompts)
    settings, model = app.workbench.method_settings(), app.workbench.model()
    values_for(
        model,
        batch,
        settings.values(templates_for(model, batch, settings)),
        app.workbench.workspace,
    )


def damage_values(app: App, values: Mapping[str, str]) -> None:
    """Damage the cached values of facts. values: revision -> kind of damage."""
    with app.ledger.begin() as session:
        facts = queries.facts.candidate_set(session)
        before = queries.facts.base_counterparts(session, facts)
    batches = {
        fact.update.revision: edits.edit_batch([fact], before, app.prompts) for fact in facts
    }
    model = app.workbench.model()
    held = {
        revision: values_for(model, batch, value_settings(app, batch), app.workbench.workspace)
        for revision, batch in batches.items()
        if revision in values or any(revision in how for how in values.values())
    }
    for revision, how in values.items():
        batch = batches[revision]
        moved = damaged_value(how, held[revision], batch, held)
        folder = folder_of(model, batch.edits, value_settings(app, batch), app.workbench.workspace)
        if how == "cut":
            file = folder / "values.safetensors"
            file.write_bytes(file.read_bytes()[:-40])
            continue

        def fill(part: Path, moved: Tensor = moved) -> None:
            save_file({"z": moved.contiguous()}, part / "values.safetensors")

        write_folder(folder, fill, {})


def switch_heads_on(app: App, size: float) -> None:
    """Switch on corrections of norm `size` for four heads in one of the last blocks."""
    if not size:
        return
    model = app.workbench.model()
    heads = tuple((len(model.blocks) - 2, head) for head in range(4))
    width = model.head_weight(0).shape[-1]
    drawn = torch.randn(len(heads), width, generator=torch.Generator().manual_seed(0))
    vectors = size * drawn / drawn.norm(dim=-1, keepdim=True)
    grid = torch.zeros(len(model.blocks), model.heads)
    held = HeadCorrections(
        language="es",
        base_fingerprint=model.fingerprint,
        trained_on="planted",
        heads=heads,
        vectors=vectors,
        relevance=grid,
        gains=grid.clone(),
        facts=0,
        settings={},
    )
    save_corrections(held, app.workbench.workspace)


def value_settings(app: App, batch: EditBatch) -> Any:
    """The settings that the values of a batch are computed with."""
    settings = app.workbench.method_settings()
    return settings.values(templates_for(app.workbench.model(), batch, settings))


def damaged_value(how: str, z: Tensor, batch: EditBatch, held: Mapping[str, Tensor]) -> Tensor:
    """A damaged copy of the values z (edits, d). how: a kind of damage, such as "times 8"."""
    kind, _, rest = how.partition(" ")
    moved = z.clone().cpu()
    if kind == "times":
        moved *= float(rest)
    elif kind == "nan":
        moved[0, 0] = torch.nan
    elif kind == "inf":
        moved[0, 0] = torch.inf
    elif kind == "language":
        own = torch.tensor([edit.language == rest for edit in batch.edits])
        noise = torch.randn(moved.shape, generator=torch.Generator().manual_seed(0))
        size = moved.norm(dim=-1, keepdim=True) / noise.norm(dim=-1, keepdim=True)
        moved = torch.where(own[:, None], moved + noise * size, moved)
    elif kind == "swap":
        moved = held[rest].clone().cpu()[: len(moved)]
    return moved


def broken_catalogue(relation: str, folder: Path) -> Path:
    """Write a catalogue in which a relation has the Spanish wordings of another relation.

    Returns its folder.
    """
    text = (catalogue.PACKAGED / f"{relation}.toml").read_text(encoding="utf-8")
    other = catalogue.load_catalogue()["P38"].wordings["es"]
    for old, new in zip(
        catalogue.load_catalogue()[relation].wordings["es"].edit, other.edit, strict=True
    ):
        text = text.replace(f'"{old}"', f'"{new}"')
    folder.mkdir(exist_ok=True)
    (folder / f"{relation}.toml").write_text(text, encoding="utf-8")
    return folder


def run_scenario(lab: PreparedState, name: str, plan: Scenario) -> ScenarioOutcome:
    """Run one scenario from ingest to the decision."""
    started = time.monotonic()
    relations = None
    if plan.broken_relation:
        relations = broken_catalogue(plan.broken_relation, lab.folder / "relations")
    with lab.app(own_values=bool(plan.values or plan.heads), relations=relations) as app:
        if plan.first:
            ingest_batch(app, plan.first)
            made = plan_and_edit(app, who="bench", why="first")
            assert made.release is not None, made.decision.reasons
            publish.publish(
                app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, made.release
            )
        ingest_batch(app, plan.updates)
        damage_values(app, plan.values)
        switch_heads_on(app, plan.heads)
        told, solves, held, alarmed = "", 0, frozenset[str](), False
        try:
            found = plan_and_edit(app, who="bench", why=name)
            told, solves = "; ".join(found.decision.reasons), found.solves
            held, alarmed = in_release(app, found.release), bool(found.earlier)
        except (Refused, FactdError) as error:
            told = str(error)
        aside = set_aside(app)
        wanted = {u["revision"] for u in plan.updates} - plan.guilty
        return ScenarioOutcome(
            name=name,
            caught=not held & plan.guilty and bool(aside or told or alarmed),
            right=frozenset(aside) == plan.guilty,
            published=wanted <= held,
            solves=solves,
            seconds=time.monotonic() - started,
            told=" | ".join(dict.fromkeys(aside.values())) or told,
        )


def in_release(app: App, number: int | None) -> frozenset[str]:
    """The revisions of a release's facts."""
    if number is None:
        return frozenset()
    with app.ledger.read() as session:
        release = queries.releases.release(session, number)
        facts = queries.facts.facts_by_id(session, release.fact_ids)
    return frozenset(fact.update.revision for fact in facts)


def set_aside(app: App) -> dict[str, str]:
    """The facts that were set aside: revision -> reason."""
    from factd.store import queries

    with app.ledger.read() as session:
        rows = queries.evidence.list_quarantine(session)
        facts = {f.id: f for f in queries.facts.facts_by_id(session, [r.fact_id for r in rows])}
    return {facts[row.fact_id].update.revision: row.reason for row in rows}


def scenarios(world: ScenarioWorld) -> Iterator[tuple[str, Scenario]]:
    """Every planted disaster with its name. Seeded."""
    for name, (kind, times) in KINDS.items():
        for seed in range(times):
            yield f"{name} ({seed + 1})", kind(random.Random(f"{name} {seed}"), world)


def clean_batches(world: ScenarioWorld, count: int) -> Iterator[tuple[str, Scenario]]:
    """Batches of 4 to 24 facts without a fault. Every fourth follows another batch that is live."""
    for seed in range(count):
        rng = random.Random(f"clean {seed}")
        batch = rng.sample(list(world.clean), rng.randint(4, min(24, len(world.clean))))
        first = batch[: len(batch) // 2] if seed % 4 == 3 else []
        rest = tuple(batch[len(first) :])
        plan = Scenario(updates=rest, guilty=frozenset(), first=tuple(first))
        yield f"clean ({seed + 1}, {'second batch' if first else 'first batch'})", plan


def run(*, clean: int = 40, only: str = "", part: int = 1, parts: int = 1) -> dict[str, Any]:
    """Run the benchmark. Returns its document.

    clean: number of clean batches. only: parts of names, separated by |. part, parts: number of
    this process, and of all that share the scenarios.
    """
    with tempfile.TemporaryDirectory() as name:
        lab = PreparedState(Path(name))
        lab.prepare()
        able = writable_updates(lab)
        world = ScenarioWorld(able, updates(paths.FACTS))
        wanted = [*scenarios(world), *clean_batches(world, clean)][part - 1 :: parts]
        rows = []
        for title, plan in wanted:
            if any(word in title for word in only.split("|")):
                rows.append(run_scenario(lab, title, plan))
                log.info("scenario", **rows[-1].as_row())
    bad = [row for row in rows if not row.name.startswith("clean")]
    good = [row for row in rows if row.name.startswith("clean")]
    return document(
        "disasters",
        "cpu",
        [row.as_row() for row in rows],
        writable=f"{len(able)} of {len(updates(paths.FEED))}",
        disasters=len(bad),
        caught=sum(row.caught for row in bad),
        right_facts=sum(row.right for row in bad),
        others_published=sum(row.published for row in bad),
        searched=sum(row.solves > 0 for row in bad),
        kinds=by_kind(row.as_row() for row in bad),
        clean=len(good),
        false_alarms=sum(bool(row.told) or not row.published for row in good),
        median_seconds=median(row.seconds for row in rows) if rows else None,
    )
