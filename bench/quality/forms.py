"""Compares the correct form of head corrections with that of the released code, in every metric.

    python -m factd.bench.quality.forms [--json FILE]

Only English is written. Corrections are trained on a first release with half of the facts. They are
used again without change on a second release with all facts, and this one is measured. Retention is
measured on the facts of the first release. There is one table per language, with one column per
form.
"""

import argparse
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from factd.bench.quality.heads import WRITTEN, unrelated_prompts
from factd.bench.quality.world import (
    WORKSPACE,
    BenchWorld,
    held_out,
    open_world,
    save,
    table,
    teacher_forced,
)
from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import EditBatch
from factd.editor.exams.exam import Exam, ExamResults, take_exam
from factd.editor.exams.report import run_checks
from factd.editor.heads.corrections import with_heads
from factd.editor.heads.training import HeadSettings
from factd.editor.methods import memat, memit
from factd.editor.scoring.drift import drift
from factd.editor.scoring.rankings import Question, consistency_by_pair, rank_candidates
from factd.editor.scoring.score import Probe, answers
from factd.store.model.facts import Fact

WEIGHT = 60.0
SERVED = ("en", "es", "fr")
PLAIN = HeadSettings(lr=0.03, epochs=2)
FORMS: dict[str, HeadSettings | None] = {
    "MEMIT": None,
    "correct": PLAIN,
    "as released": replace(PLAIN, form="as-released"),
    "ITI directions": replace(PLAIN, form="center-of-mass", strength=1.0),
    "random heads": replace(PLAIN, choice="random"),
}
CANDIDATES = 12  # per question of RankC


def english_delta(world: BenchWorld, facts: Sequence[Fact]) -> Delta:
    """The delta of MEMIT that writes some facts in English."""
    ids = {fact.id for fact in facts}
    batch = EditBatch.of(e for e in world.batch(WRITTEN).edits if e.group in ids)
    settings = replace(world.settings, second_moment_weight=WEIGHT)
    return memit.edit(world.model, batch, settings=settings, workspace=WORKSPACE)


def questions(world: BenchWorld) -> dict[str, list[Question]]:
    """A ranking question per edited fact, by language.

    The candidates are objects of the relation, the new one among them; they are the same in every
    language.
    """
    found: dict[str, list[Question]] = defaultdict(list)
    for number, fact in enumerate(world.facts):
        pool = {k.object.id: k.object for k in world.known if k.relation == fact.relation}
        chosen = sorted(pool)[number % 7 :: max(1, len(pool) // CANDIDATES)][: CANDIDATES - 1]
        objects = [fact.object, *(pool[i] for i in chosen if i != fact.object.id)]
        for language in SERVED:
            wording = world.catalogue[fact.relation].wordings[language].edit[0]
            prompt = wording.format(fact.subject.labels[language])
            found[language].append((prompt, [o.labels[language] for o in objects]))
    return found


def measure(
    world: BenchWorld,
    delta: Delta,
    probes: Sequence[Probe],
    base: ExamResults,
    first: set[str],
) -> dict[str, dict[str, float]]:
    """Every metric of an edited model, by language.

    first: ids of the facts of the first release.
    """
    model = world.model
    exam = Exam(probes=tuple(probes))
    report = run_checks(model, exam, delta=delta, terminator=world.settings.terminator, base=base)
    with applied(model, delta):
        found = teacher_forced(model, probes, world.settings.terminator)
        kept = [p for p in probes if p.kind == "edit" and p.fact in first]
        again = answers(model, kept, terminator=world.settings.terminator)
        ranked = {k: rank_candidates(model, asked) for k, asked in questions(world).items()}
    pairs = consistency_by_pair(ranked)
    moved = {row.language: row for row in drift(model, delta, held_out())}
    for k in SERVED:
        row = found[k]
        for name, check, metric in (
            ("generation, edit prompts", "efficacy", "generation"),
            ("generation, other wordings", "paraphrase", "generation"),
            ("known facts kept", "known_facts", "kept"),
            ("language fidelity", "fidelity", "share"),
        ):
            value = report.value(check, metric, k)
            row[name] = value.value if value else float("nan")
        right = [a.right for p, a in zip(kept, again, strict=True) if p.language == k]
        row["retention"] = sum(right) / len(right)
        transfer = report.value("transfer", "generation", f"{WRITTEN}→{k}")
        row["transfer from en"] = transfer.value if transfer else float("nan")
        mine = [v for pair, v in pairs.items() if k in pair]
        row["RankC, mean with the others"] = sum(mine) / len(mine)
        row["drift: perplexity ratio"] = moved[k].perplexity_ratio
        row["drift: KL"] = moved[k].kl
        row["norms: highest ‖W‖/‖W base‖"] = max(
            v for name, v in delta.diagnostics.items() if name.endswith("weight_norm_ratio")
        )
        biases = [p.matrix().norm() for n, p in delta.parts.items() if n.endswith(".bias")]
        row["norms: Σ ‖bias‖"] = float(sum(biases))
    return found


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    world = open_world(neighbours=3)
    world = replace(world, plan=replace(world.plan, served=SERVED, write=(WRITTEN,)))
    probes = world.probes()
    base = take_exam(world.model, Exam(probes=probes), terminator=world.settings.terminator)
    half = world.facts[: len(world.facts) // 2]
    one, two = english_delta(world, half), english_delta(world, world.facts)
    ids = {fact.id for fact in half}
    trained_on = EditBatch.of(e for e in world.batch(WRITTEN).edits if e.group in ids)
    found: dict[str, dict[str, dict[str, float]]] = {}
    for form, settings in FORMS.items():
        delta = two
        if settings is not None:
            corrections = memat.train_corrections(
                world.model,
                trained_on.edits,
                one,
                WRITTEN,
                heads=settings,
                settings=world.settings,
                templates_of=(WRITTEN,),
                still=unrelated_prompts(world, probes, WRITTEN),
            )
            delta = with_heads(world.model, two, [corrections])
        found[form] = measure(world, delta, probes, base, ids)
        print(form, {k: round(v, 3) for k, v in found[form]["es"].items()}, flush=True)
    save(options.json, "forms", found)
    for k in SERVED:
        rows: list[dict[str, Any]] = [
            {k: name, **{form: float(found[form][k][name]) for form in FORMS}}
            for name in found["MEMIT"][k]
        ]
        print("\n" + table(rows))


if __name__ == "__main__":
    main()
