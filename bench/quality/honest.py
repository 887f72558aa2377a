"""What the edits of the demo are worth on questions that nobody prepared the model for.

    python -m factd.bench.quality.honest [--sets feed "new objects"] [--json FILE]

The settings are those of the demo (reference/settings.toml). They were searched on the feed, and
the model was trained on every wording of the catalogue. So the feed is asked in held-out wordings
too, and three sets of invented facts are edited that were in no search: with many known objects,
with objects of no training text, and with subjects of no training text (factd.reference.held_out).
Each set is an edit of its own. Facts that must not change are asked in the wordings of edits, in
those of checks, and in held-out ones.

Intervals are 95 %: a bootstrap over facts, because the questions about one fact are not
independent; where every fact has the same share, Wilson's interval with one question per fact.
"""

import argparse
import json
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from safetensors import safe_open

from factd.bench.measure import document
from factd.bench.quality.world import WORKSPACE, BenchWorld, open_world, table
from factd.daemon.gates.measures import GatesTable, Threshold
from factd.daemon.prompts import edits
from factd.daemon.prompts import probes as probing
from factd.editor.deltas.delta import Delta, applied
from factd.editor.methods import memit
from factd.editor.models.model import EditableModel
from factd.editor.scoring.intervals import bootstrap_interval, wilson_interval
from factd.editor.scoring.score import Probe, answers
from factd.reference import held_out, paths
from factd.reference.world import WorldClaim, write_jsonl
from factd.store.catalogue.catalogue import Wordings
from factd.store.model.facts import Fact

EURO = "EUR"
KEPT_FACTS = {"feed": 120}  # per language that must not change; for the feed as in the demo
FEWER_KEPT = 30  # for the other sets
SETS: Mapping[str, Callable[[], list[WorldClaim]] | None] = {
    "feed": None,
    "many objects": held_out.many_objects,
    "new objects": held_out.new_objects,
    "new subjects": held_out.unknown_subjects,
}
WORDINGS = ("edit", "check", "held out")  # only the last ones stand in no training text


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A question about a fact, in one kind of wording."""

    fact: Fact
    wording: str  # one of WORDINGS
    probe: Probe


def texts_of(kind: str, relation: str, language: str, wordings: Wordings, count: int) -> list[str]:
    """The wordings of a kind. count: number of wordings that facts are written with."""
    if kind == "held out":
        return list(held_out.wordings()[relation][language])
    return list(wordings.edit[:count] if kind == "edit" else wordings.check)


def questions(facts: Iterable[Fact], world: BenchWorld, languages: Sequence[str]) -> list[Asked]:
    """Every fact in every wording of every kind and language."""
    plan = world.plan
    return [
        Asked(
            fact=fact,
            wording=kind,
            probe=probing.wording_probe(fact, text, language, plan, kind="edit"),
        )
        for fact in facts
        for language in languages
        for kind in WORDINGS
        for text in texts_of(
            kind,
            fact.relation,
            language,
            plan.catalogue[fact.relation].wordings[language],
            plan.edit_wordings,
        )
    ]


def kept_questions(world: BenchWorld, count: int) -> list[Asked]:
    """Facts that must not change, in all wordings. count: facts per language."""
    written = {fact.update.pair for fact in world.facts}
    facts = [fact for fact in world.known if fact.update.pair not in written]
    return [
        asked
        for language in world.plan.served
        for asked in questions(edits.stable_sample(facts, count, language), world, (language,))
    ]


def right(world: BenchWorld, asked: Sequence[Asked]) -> list[bool]:
    """Whether the model answers each question right."""
    found = answers(world.model, [a.probe for a in asked], terminator=world.settings.terminator)
    return [answer.right for answer in found]


def interval(facts: Sequence[str], hits: Sequence[bool]) -> tuple[float, float]:
    """The 95 % interval of a share. facts: the id of the fact that each question is about."""
    sums, counts = Counter[str](), Counter(facts)
    for fact, hit in zip(facts, hits, strict=True):
        sums[fact] += hit
    if len({sums[fact] / counts[fact] for fact in counts}) < 2:
        return wilson_interval(round(len(counts) * sum(hits) / len(hits)), len(counts))
    return bootstrap_interval([sums[f] for f in counts], [counts[f] for f in counts])


def share_row(asked: Sequence[Asked], hits: Sequence[bool], **names: Any) -> dict[str, Any]:
    """One row: the share of right answers with its interval. The share of no questions is None."""
    facts = [a.fact.id for a in asked]
    low, high = interval(facts, hits) if hits else (0.0, 1.0)
    count = {"facts": len(set(facts)), "questions": len(hits)}
    share = sum(hits) / len(hits) if hits else None
    return {**names, **count, "right": share, "low": low, "high": high}


def objects_of(fact: Fact) -> tuple[str, ...]:
    """The groups of objects that a fact is counted in."""
    return ("all", "euro" if fact.object.id == EURO else "not euro")


def shares(
    name: str, asked: Sequence[Asked], before: Sequence[bool], after: Sequence[bool]
) -> list[dict[str, Any]]:
    """The rows of a set of edits: by wording, by objects, and by language."""
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for number, a in enumerate(asked):
        for language in ("all", a.probe.language):
            for objects in objects_of(a.fact):
                groups[a.wording, objects, language].append(number)
    return [
        {
            **share_row(
                [asked[n] for n in numbers],
                [after[n] for n in numbers],
                set=name,
                wordings=wording,
                objects=objects,
                language=language,
            ),
            "before": sum(before[n] for n in numbers) / len(numbers),
        }
        for (wording, objects, language), numbers in groups.items()
    ]


def known_shares(
    name: str, asked: Sequence[Asked], before: Sequence[bool], after: Sequence[bool] | None = None
) -> list[dict[str, Any]]:
    """The share that the base answers right and, of these, that is still right after the edit."""
    found = []
    for kind in WORDINGS:
        numbers = [n for n, a in enumerate(asked) if a.wording == kind]
        rows = {"known": (numbers, before)}
        if after is not None:
            rows["kept"] = ([n for n in numbers if before[n]], after)
        for what, (chosen, hits) in rows.items():
            some = [asked[n] for n in chosen]
            found.append(
                share_row(some, [hits[n] for n in chosen], set=name, wordings=kind, share=what)
            )
    return found


def parameters() -> int:
    """The number of parameters of the reference model."""
    with safe_open(paths.MODEL / "model.safetensors", "pt") as file:
        return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def norm_ratios(model: EditableModel, delta: Delta) -> dict[str, float]:
    """‖W + Δ‖ / ‖W‖ of every edited matrix, by the name of the parameter."""
    weights = {name: model.model.get_parameter(name) for name in delta.parts}
    before = {name: float(weight.norm()) for name, weight in weights.items()}
    with applied(model, delta):
        return {name: float(weight.norm()) / before[name] for name, weight in weights.items()}


def bound(gate: Threshold | float) -> float | None:
    """The bound of a gate; None if the gate is off."""
    return gate.bound if isinstance(gate, Threshold) else gate


def loosened_gates() -> list[dict[str, Any]]:
    """The gates of the demo that differ from the defaults of the product, with both bounds."""
    default = GatesTable()
    demo = GatesTable(**tomllib.loads(paths.SETTINGS.read_text(encoding="utf-8"))["gates"])
    return [
        {
            "gate": name,
            "demo": bound(getattr(demo, name)),
            "default": bound(getattr(default, name)),
        }
        for name in GatesTable.model_fields
        if getattr(demo, name) != getattr(default, name)
    ]


def worlds(feed_world: BenchWorld, sets: Sequence[str]) -> Iterator[tuple[str, BenchWorld]]:
    """Some sets of edits, each with the world in which it is ingested. All have one model."""
    for name in sets:
        claims = SETS[name]
        if claims is None:
            yield name, feed_world
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "feed.jsonl"
            write_jsonl(claims(), path)
            yield name, open_world(feed=path, model=feed_world.model)


def measure(name: str, world: BenchWorld) -> dict[str, Any]:
    """Edit one set, and ask about it and about facts that must not change."""
    own = questions(world.facts, world, world.plan.served)
    olds = [world.old[fact.id] for fact in world.facts if fact.id in world.old]
    replaced = questions(olds, world, world.plan.served)
    kept = kept_questions(world, KEPT_FACTS.get(name, FEWER_KEPT))
    before = [right(world, asked) for asked in (own, replaced, kept)]
    batch = edits.edit_batch(world.facts, world.old, world.plan)
    delta = memit.edit(world.model, batch, settings=world.settings, workspace=WORKSPACE)
    with applied(world.model, delta):
        after = [right(world, asked) for asked in (own, kept)]
    objects = Counter(fact.object.id for fact in world.facts)
    old = known_shares("before", replaced, before[1]) if replaced else []
    return {
        "facts": len(world.facts),
        "edits": len(batch.edits),
        "objects": len(objects),
        "euro": objects[EURO],
        "euro_share": objects[EURO] / len(world.facts),
        "norm_ratio": norm_ratios(world.model, delta),
        "answers": shares(name, own, before[0], after[0]),
        "replaced": old,
        "kept": known_shares("kept", kept, before[2], after[1]),
    }


def nested(rows: Iterable[Mapping[str, Any]], *names: str) -> dict[str, Any]:
    """Rows under their values of some names: {"edit": {"euro": {...}}}."""
    found: dict[str, Any] = {}
    for row in rows:
        place = found
        for name in names:
            place = place.setdefault(row[name], {})
        place.update({k: v for k, v in row.items() if k not in ("set", *names)})
    return found


def by_names(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The measurements of a set with its rows under their names, as the JSON file has them."""
    return {
        **measured,
        "answers": nested(measured["answers"], "wordings", "objects", "language"),
        "replaced": nested(measured["replaced"], "wordings", "share"),
        "kept": nested(measured["kept"], "wordings", "share"),
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    more = {"parameters": parameters(), "gates": loosened_gates()}
    found: dict[str, Any] = {}
    for name, world in worlds(open_world(), options.sets):
        measured = measure(name, world)
        found[name] = by_names(measured)
        chosen = [r for r in measured["answers"] if r["language"] == "all"]
        print("\n" + table(chosen) + "\n" + table(measured["kept"]), flush=True)
        if options.json:
            whole = document("honest", "cpu", [], **more, sets=found)
            options.json.write_text(json.dumps(whole, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
