"""Planted disasters: does the gate catch each, are the right facts set aside, and do clean batches pass?

    factd bench disasters [--only TEXT] [--clean 40] [--json]

Every scenario is a state of its own on the reference model: the world of 1998, a batch, the real steps. "Clean" changes are
those of the feed that are clean when written alone (answered in every written language, sparing at least two in three of the
subjects with which their own shares words: "Canary Islands" takes the currency of other islands along) and that are answered
when all of them are written at once. The others are what the gates are for, and are counted in the document.
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

from factd.bench.measure import document
from factd.bench.planted import KINDS, Plan, Update, World
from factd.bench.world import WORKSPACE
from factd.daemon.app import App, build
from factd.daemon.config.load import load_config
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
SMALL_BATCHES = (  # the default gates, and old keys weigh less against few edits
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
class Outcome:
    """What became of one scenario."""

    name: str
    caught: bool  # what is guilty is not in the release, and somebody was told
    right: bool  # just the guilty were set aside
    published: bool  # all others are in an accepted release
    solves: int
    seconds: float
    told: str

    def as_row(self) -> dict[str, Any]:
        """A line of the table."""
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
class Lab:
    """A prepared state that scenarios copy, and the base model."""

    folder: Path
    changes: tuple[tuple[str, str], ...] = CHANGES + SMALL_BATCHES
    workbench: Workbench | None = None

    def config_text(self) -> str:
        """The reference settings with the languages and strength of this bench."""
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
        """Ingest the world once."""
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
    """The lines of a feed."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ingested(app: App, batch: Sequence[Update]) -> None:
    """Take a batch in."""
    file = app.config.root / "batch.jsonl"
    lines = (json.dumps(update, ensure_ascii=False) for update in batch)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = ingest_file(app.ledger, app.prompts, file)
    assert not report.bad, report.bad


def writable(lab: Lab) -> list[Update]:
    """The changes of the feed that the editor can write: alone, each is right in every written language, and spares others."""
    found = []
    feed = updates(paths.FEED)
    name = hashlib.sha256(f"{lab.config_text()} {feed} {getsource(writable)}".encode()).hexdigest()
    kept = SHARED / f"clean-{name[:16]}.json"
    if kept.exists():
        held = set(json.loads(kept.read_text()))
        return [update for update in feed if update["revision"] in held]
    with lab.app() as app:
        ingested(app, feed)
        live = candidates.live_of(
            app.ledger,
        )
        with app.ledger.begin() as session:
            facts = queries.facts.candidate_set(session)
        render_all(app, facts)
        for fact in facts:
            case = candidates.case_of(
                app.ledger, app.paths, app.workbench, app.prompts, [fact], live
            )
            kinds = ("edit", "paraphrase", "namesake", "neighbourhood")
            probes = tuple(p for p in case.exam.probes if p.kind in kinds)
            delta = candidates.solved(app.workbench, case.batch)
            exam = replace(case.exam, probes=probes, texts={}, questions={})
            said = candidates.examined(
                app.paths, app.workbench, app.prompts, app.gates, case, delta, exam=exam, only=()
            )
            written = [row for row in said.report["facts"] if row["written"]]
            taken = all(row["right"] * 2 >= row["asked"] for row in written)
            if taken and said.decision.accepted and spared(said.report):
                found.append(fact)
        held = answered_together(app, found, live)
    kept.write_text(json.dumps(sorted(held)))
    return [update for update in feed if update["revision"] in held]


def answered_together(app: App, facts: Sequence[Fact], live: Release) -> set[str]:
    """The revisions of those facts that are answered in every written language when all are written at once."""
    case = candidates.case_of(app.ledger, app.paths, app.workbench, app.prompts, facts, live)
    probes = tuple(p for p in case.exam.probes if p.kind in ("edit", "paraphrase"))
    exam = replace(case.exam, probes=probes, texts={}, questions={})
    delta = candidates.solved(app.workbench, case.batch)
    rows = candidates.examined(
        app.paths, app.workbench, app.prompts, app.gates, case, delta, exam=exam, only=()
    ).report["facts"]
    lost = {r["fact"] for r in rows if r["written"] and r["right"] * 2 < r["asked"]}
    return {fact.update.revision for fact in facts if fact.id not in lost}


def spared(report: Mapping[str, Any]) -> bool:
    """Other subjects keep their answers, but for one in three of those that have words of the name in common."""
    kept = {(m["check"], m["metric"]): m["value"] for m in report["measurements"]}
    return bool(kept.get(("namesakes", "kept"), 1.0) >= 2 / 3)


def render_all(app: App, facts: Sequence[Fact]) -> None:
    """Compute all values at once, which takes less than one by one."""
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


def tamper(app: App, values: Mapping[str, str]) -> None:
    """Damage the values of some facts on disk, each in its own way."""
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
        moved = damaged(how, held[revision], batch, held)
        folder = folder_of(model, batch.edits, value_settings(app, batch), app.workbench.workspace)
        if how == "cut":
            file = folder / "values.safetensors"
            file.write_bytes(file.read_bytes()[:-40])
            continue

        def fill(part: Path, moved: Tensor = moved) -> None:
            save_file({"z": moved.contiguous()}, part / "values.safetensors")

        write_folder(folder, fill, {})


def switch_heads_on(app: App, size: float) -> None:
    """Corrections of a few heads in the last blocks, `size` long each, as if they had been trained so."""
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
    """What the values of a batch are found with."""
    settings = app.workbench.method_settings()
    return settings.values(templates_for(app.workbench.model(), batch, settings))


def damaged(how: str, z: Tensor, batch: EditBatch, held: Mapping[str, Tensor]) -> Tensor:
    """A damaged copy of a value (edits, d)."""
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
    """A catalogue folder in which the Spanish wordings of a relation are those of another one."""
    text = (catalogue.PACKAGED / f"{relation}.toml").read_text(encoding="utf-8")
    other = catalogue.load_catalogue()["P38"].wordings["es"]
    for old, new in zip(
        catalogue.load_catalogue()[relation].wordings["es"].edit, other.edit, strict=True
    ):
        text = text.replace(f'"{old}"', f'"{new}"')
    folder.mkdir(exist_ok=True)
    (folder / f"{relation}.toml").write_text(text, encoding="utf-8")
    return folder


def played(lab: Lab, name: str, plan: Plan) -> Outcome:
    """One scenario from ingest to the decision."""
    started = time.monotonic()
    relations = None
    if plan.broken_relation:
        relations = broken_catalogue(plan.broken_relation, lab.folder / "relations")
    with lab.app(own_values=bool(plan.values or plan.heads), relations=relations) as app:
        if plan.first:
            ingested(app, plan.first)
            made = plan_and_edit(app, who="bench", why="first")
            assert made.release is not None, made.decision.reasons
            publish.publish(
                app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, made.release
            )
        ingested(app, plan.updates)
        tamper(app, plan.values)
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
        return Outcome(
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
    """What was set aside: revision -> reason."""
    from factd.store import queries

    with app.ledger.read() as session:
        rows = queries.evidence.list_quarantine(session)
        facts = {f.id: f for f in queries.facts.facts_by_id(session, [r.fact_id for r in rows])}
    return {facts[row.fact_id].update.revision: row.reason for row in rows}


def scenarios(world: World) -> Iterator[tuple[str, Plan]]:
    """Every planted disaster, seeded."""
    for name, (kind, times) in KINDS.items():
        for seed in range(times):
            yield f"{name} ({seed + 1})", kind(random.Random(f"{name} {seed}"), world)


def clean_batches(world: World, count: int) -> Iterator[tuple[str, Plan]]:
    """Batches without a fault, of 4 to 24 facts; every fourth comes after another one that is live."""
    for seed in range(count):
        rng = random.Random(f"clean {seed}")
        batch = rng.sample(list(world.clean), rng.randint(4, min(24, len(world.clean))))
        first = batch[: len(batch) // 2] if seed % 4 == 3 else []
        rest = tuple(batch[len(first) :])
        plan = Plan(updates=rest, guilty=frozenset(), first=tuple(first))
        yield f"clean ({seed + 1}, {'second batch' if first else 'first batch'})", plan


def run(*, clean: int = 40, only: str = "", part: int = 1, parts: int = 1) -> dict[str, Any]:
    """The table, and what it adds up to. part: of several processes that share the scenarios."""
    with tempfile.TemporaryDirectory() as name:
        lab = Lab(Path(name))
        lab.prepare()
        able = writable(lab)
        world = World(able, updates(paths.FACTS))
        wanted = [*scenarios(world), *clean_batches(world, clean)][part - 1 :: parts]
        rows = []
        for title, plan in wanted:
            if any(word in title for word in only.split("|")):
                rows.append(played(lab, title, plan))
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
        clean=len(good),
        false_alarms=sum(bool(row.told) or not row.published for row in good),
        median_seconds=median(row.seconds for row in rows) if rows else None,
    )
