"""Planted disasters: batches with a planted fault, and the facts that are guilty of it.

A kind takes a seeded generator and clean claims. It returns what to ingest, which values to damage,
and which facts are guilty.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Update = dict[str, Any]  # in the ingest format
LANGUAGES = ("en", "es", "ca", "fr")


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """The steps of one scenario, and the facts that must be set aside."""

    updates: tuple[Update, ...]  # the batch: clean and planted claims
    guilty: frozenset[str]  # revisions of the claims that must be set aside
    first: tuple[Update, ...] = ()  # an earlier batch, which is live before
    values: Mapping[str, str] = field(default_factory=dict)  # revision -> how its value is damaged
    broken_relation: str = ""  # relation whose wordings are wrong in one language
    heads: float = 0.0  # norm of the head corrections that are switched on; 0: none


ScenarioKind = Callable[[random.Random, "ScenarioWorld"], Scenario]


@dataclass(frozen=True)
class ScenarioWorld:
    """The material of the scenarios."""

    clean: Sequence[Update]  # changes that the editor can write
    known: Sequence[Update]  # claims that the base model knows


def sample_clean(rng: random.Random, world: ScenarioWorld, count: int) -> list[Update]:
    """Clean claims about different subjects."""
    return rng.sample(list(world.clean), count)


def entity(id_: str, name: str, **labels: str) -> dict[str, Any]:
    """A subject or object with one name in every language. labels: exceptions, by language."""
    return {"id": id_, "labels": dict.fromkeys(LANGUAGES, name) | labels, "aliases": {}}


def claim(
    name: str, subject: Mapping[str, Any], object_: Mapping[str, Any], relation: str = "P38"
) -> Update:
    """A planted claim."""
    return {
        "source": "planted",
        "revision": f"planted-{name}",
        "event_time": "2024-01-01T00:00:00Z",
        "subject": dict(subject),
        "relation": relation,
        "object": dict(object_),
        "valid_from": "2024-01-01",
        "valid_to": None,
    }


def another_object(world: ScenarioWorld, rng: random.Random, *, but: str = "") -> dict[str, Any]:
    """The object of a random clean claim. but: id of an object that is not taken."""
    objects = [u["object"] for u in world.clean if u["object"]["id"] != but]
    return dict(rng.choice(objects))


def damaged_values(how: str, count: int = 1) -> ScenarioKind:
    """One or more facts whose cached values are damaged. Their manifest fits the damaged values."""

    def plan(rng: random.Random, world: ScenarioWorld) -> Scenario:
        batch = sample_clean(rng, world, rng.randint(8, 14))
        bad = [u["revision"] for u in rng.sample(batch, count)]
        return Scenario(updates=tuple(batch), guilty=frozenset(bad), values=dict.fromkeys(bad, how))

    return plan


def swapped_values(rng: random.Random, world: ScenarioWorld) -> Scenario:
    """Two facts whose cached values are exchanged."""
    batch = sample_clean(rng, world, 12)
    one = rng.choice(batch)
    two = next(u for u in batch if u["object"]["id"] != one["object"]["id"])
    bad = (one["revision"], two["revision"])
    return Scenario(
        updates=tuple(batch),
        guilty=frozenset(bad),
        values={bad[0]: f"swap {bad[1]}", bad[1]: f"swap {bad[0]}"},
    )


def flipped_relation(relation: str) -> ScenarioKind:
    """False claims that give all subjects of a relation the same object."""

    def plan(rng: random.Random, world: ScenarioWorld) -> Scenario:
        held = [u for u in world.known if u["relation"] == relation]
        objects = {u["object"]["id"]: u["object"] for u in held}
        to = objects[rng.choice(sorted(objects))]  # any, not the commonest: the whole relation
        clean = sample_clean(rng, world, 8)
        spared = {u["subject"]["id"] for u in clean}
        poison = [
            claim(f"{relation}-{u['subject']['id']}", u["subject"], to, relation)
            for u in held
            if u["object"]["id"] != to["id"] and u["subject"]["id"] not in spared
        ]
        return Scenario(updates=(*clean, *poison), guilty=frozenset(u["revision"] for u in poison))

    return plan


def contradicting_namesakes(rng: random.Random, world: ScenarioWorld) -> Scenario:
    """Two subjects with the same name and different objects."""
    batch = sample_clean(rng, world, 10)
    one = rng.choice(batch)
    other = another_object(world, rng, but=one["object"]["id"])
    twin = claim("twin", {**one["subject"], "id": one["subject"]["id"] + "-twin"}, other)
    return Scenario(updates=(*batch, twin), guilty=frozenset((one["revision"], twin["revision"])))


def mislabelled_object(language: str) -> ScenarioKind:
    """A claim whose object has the name of something else in one language, not in English."""

    def plan(rng: random.Random, world: ScenarioWorld) -> Scenario:
        batch = sample_clean(rng, world, 10)
        bad = dict(batch[0])
        other = next(u["object"] for u in world.known if u["object"]["id"] != bad["object"]["id"])
        while other["labels"][language] == bad["object"]["labels"][language]:
            other = another_object(world, rng, but=bad["object"]["id"])
        labels = {**bad["object"]["labels"], language: other["labels"][language]}
        bad["object"] = {**bad["object"], "labels": labels}
        return Scenario(updates=(*batch[1:], bad), guilty=frozenset((bad["revision"],)))

    return plan


def wrong_language(rng: random.Random, world: ScenarioWorld) -> Scenario:
    """A target in the wrong language: the object's English label is its Spanish or French one."""
    batch = sample_clean(rng, world, 10)
    spoken = rng.choice(("es", "fr"))
    differs = [
        u
        for u in batch
        if u["object"]["labels"][spoken].casefold() != u["object"]["labels"]["en"].casefold()
    ]
    bad = dict(differs[0])
    held = bad["object"]["labels"]
    bad["object"] = {**bad["object"], "labels": {**held, "en": held[spoken]}}
    rest = [u for u in batch if u["revision"] != bad["revision"]]
    return Scenario(updates=(*rest, bad), guilty=frozenset((bad["revision"],)))


def garbage_label(label: str) -> ScenarioKind:
    """An object whose label cannot end a sentence."""

    def plan(rng: random.Random, world: ScenarioWorld) -> Scenario:
        batch = sample_clean(rng, world, 9)
        subject = sample_clean(rng, world, 20)
        free = next(u for u in subject if u not in batch)
        bad = claim("garbage", free["subject"], entity("GARBAGE", label))
        return Scenario(updates=(*batch, bad), guilty=frozenset((bad["revision"],)))

    return plan


def object_of_another_kind(rng: random.Random, world: ScenarioWorld) -> Scenario:
    """An object of the wrong kind: a city as a currency."""
    batch = sample_clean(rng, world, 9)
    free = next(u for u in sample_clean(rng, world, 20) if u not in batch)
    city = rng.choice([u["subject"] for u in world.known if u["relation"] == "P17"])
    bad = claim("kind", free["subject"], city)
    return Scenario(updates=(*batch, bad), guilty=frozenset((bad["revision"],)))


def subject_within_others(**names: str) -> ScenarioKind:
    """A subject whose name is a part of many others'."""

    def plan(rng: random.Random, world: ScenarioWorld) -> Scenario:
        batch = sample_clean(rng, world, 9)
        bad = claim("part", entity("PART", names["en"], **names), another_object(world, rng), "P38")
        return Scenario(updates=(*batch, bad), guilty=frozenset((bad["revision"],)))

    return plan


def strong_heads(size: float) -> ScenarioKind:
    """Head corrections much too strong: they act on every text, and no fact is to blame."""

    def plan(rng: random.Random, world: ScenarioWorld) -> Scenario:
        batch = sample_clean(rng, world, rng.randint(8, 12))
        return Scenario(updates=tuple(batch), guilty=frozenset(), heads=size)

    return plan


def overwriting_namesakes(rng: random.Random, world: ScenarioWorld) -> Scenario:
    """New facts about near namesakes of subjects that an earlier batch edited."""
    first = sample_clean(rng, world, 8)
    batch = [u for u in sample_clean(rng, world, 20) if u not in first][:8]
    bad = []
    for n, u in enumerate(rng.sample(first, 2)):
        names = {k: f"the {v}" if k == "en" else f"{v}," for k, v in u["subject"]["labels"].items()}
        to = another_object(world, rng, but=u["object"]["id"])
        bad.append(claim(f"over-{n}", entity(f"OVER{n}", names["en"], **names), to))
    return Scenario(
        updates=(*batch, *bad),
        guilty=frozenset(u["revision"] for u in bad),
        first=tuple(first),
    )


def broken_wordings(relation: str) -> ScenarioKind:
    """A relation whose wordings in one language belong to another relation."""

    def plan(rng: random.Random, world: ScenarioWorld) -> Scenario:
        batch = sample_clean(rng, world, 8)
        held = [u for u in world.known if u["relation"] == relation]
        bad = []
        for n, u in enumerate(rng.sample(held, 4)):
            to = next(v["object"] for v in held if v["object"]["id"] != u["object"]["id"])
            bad.append(claim(f"broken-{n}", u["subject"], to, relation))
        return Scenario(
            updates=(*batch, *bad),
            guilty=frozenset(u["revision"] for u in bad),
            broken_relation=relation,
        )

    return plan


KINDS: Mapping[str, tuple[ScenarioKind, int]] = {  # name -> (kind, number of seeds)
    "a value eight times too long": (damaged_values("times 8"), 3),
    "three values four times too long": (damaged_values("times 4", 3), 1),
    "a value that is no number": (damaged_values("nan"), 2),
    "a value that is infinite": (damaged_values("inf"), 1),
    "a value file cut short": (damaged_values("cut"), 1),
    "right in English, wrong in Catalan: its values": (damaged_values("language ca"), 2),
    "right in English, wrong in Catalan: its label": (mislabelled_object("ca"), 2),
    "two facts with each other's values": (swapped_values, 2),
    "every writing system is another": (flipped_relation("P282"), 1),
    "every continent is another": (flipped_relation("P30"), 1),
    "every official language is another": (flipped_relation("P37"), 1),
    "every currency is another": (flipped_relation("P38"), 1),
    "two subjects of one name": (contradicting_namesakes, 3),
    "a target in the wrong language": (wrong_language, 3),
    "a target with two sentences": (garbage_label("euro. Visit our site for more"), 1),
    "a target with an address": (garbage_label("https://example.org/win"), 1),
    "a target in broken characters": (garbage_label("corona\ufffd\ufffd"), 1),
    "a city as a currency": (object_of_another_kind, 2),
    "a subject that is a part of others: Islands": (
        subject_within_others(en="Islands", es="Islas", ca="illes", fr="Îles"),
        2,
    ),
    "a subject that is a part of others: Guinea": (
        subject_within_others(en="Guinea", es="Guinea", ca="Guinea", fr="Guinée"),
        2,
    ),
    "head corrections much too strong: drift, no fact to blame": (strong_heads(1500.0), 3),
    "early edits overwritten by near namesakes": (overwriting_namesakes, 3),
    "a relation with another one's wordings": (broken_wordings("P37"), 3),
}
