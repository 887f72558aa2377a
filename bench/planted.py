"""Planted disasters: batches in which something is wrong, each with the facts that are to blame.

A kind takes a seeded generator and some clean claims, and says what to ingest, what to tamper with, and who is guilty.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Update = dict[str, Any]  # in the ingest format
LANGUAGES = ("en", "es", "ca", "fr")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one scenario does."""

    updates: tuple[Update, ...]  # the batch, clean and planted
    guilty: frozenset[str]  # revisions of the claims that must be set aside
    first: tuple[Update, ...] = ()  # an earlier batch, which goes live before
    values: Mapping[str, str] = field(default_factory=dict)  # revision -> how its value is damaged
    broken_relation: str = ""  # whose wordings are broken, in one language
    heads: float = 0.0  # length of head corrections that are switched on; 0: none


Kind = Callable[[random.Random, "World"], Plan]


@dataclass(frozen=True)
class World:
    """What scenarios are made of."""

    clean: Sequence[Update]  # changes that the editor can write
    known: Sequence[Update]  # what the base model holds


def some(rng: random.Random, world: World, count: int) -> list[Update]:
    """Clean claims about different subjects."""
    return rng.sample(list(world.clean), count)


def thing(id_: str, name: str, **labels: str) -> dict[str, Any]:
    """A subject or object with one name in every language, but for those given."""
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


def currency(world: World, rng: random.Random, *, but: str = "") -> dict[str, Any]:
    """An object of a clean claim."""
    found = [u["object"] for u in world.clean if u["object"]["id"] != but]
    return dict(rng.choice(found))


def damaged(how: str, count: int = 1) -> Kind:
    """One or more facts whose values are damaged in the cache, with a manifest that fits."""

    def plan(rng: random.Random, world: World) -> Plan:
        batch = some(rng, world, rng.randint(8, 14))
        bad = [u["revision"] for u in rng.sample(batch, count)]
        return Plan(updates=tuple(batch), guilty=frozenset(bad), values=dict.fromkeys(bad, how))

    return plan


def swapped(rng: random.Random, world: World) -> Plan:
    """Two facts with each other's values."""
    batch = some(rng, world, 12)
    one = rng.choice(batch)
    two = next(u for u in batch if u["object"]["id"] != one["object"]["id"])
    bad = (one["revision"], two["revision"])
    return Plan(
        updates=tuple(batch),
        guilty=frozenset(bad),
        values={bad[0]: f"swap {bad[1]}", bad[1]: f"swap {bad[0]}"},
    )


def flipped(relation: str) -> Kind:
    """A whole relation claimed to have one and the same object."""

    def plan(rng: random.Random, world: World) -> Plan:
        held = [u for u in world.known if u["relation"] == relation]
        objects = {u["object"]["id"]: u["object"] for u in held}
        to = objects[rng.choice(sorted(objects))]  # any, not the commonest: the whole relation
        clean = some(rng, world, 8)
        spared = {u["subject"]["id"] for u in clean}
        poison = [
            claim(f"{relation}-{u['subject']['id']}", u["subject"], to, relation)
            for u in held
            if u["object"]["id"] != to["id"] and u["subject"]["id"] not in spared
        ]
        return Plan(updates=(*clean, *poison), guilty=frozenset(u["revision"] for u in poison))

    return plan


def contradiction(rng: random.Random, world: World) -> Plan:
    """Two subjects of one name with different objects."""
    batch = some(rng, world, 10)
    one = rng.choice(batch)
    other = currency(world, rng, but=one["object"]["id"])
    twin = claim("twin", {**one["subject"], "id": one["subject"]["id"] + "-twin"}, other)
    return Plan(updates=(*batch, twin), guilty=frozenset((one["revision"], twin["revision"])))


def mislabelled(language: str) -> Kind:
    """Right in English; in another language the object bears the name of something else."""

    def plan(rng: random.Random, world: World) -> Plan:
        batch = some(rng, world, 10)
        bad = dict(batch[0])
        other = next(u["object"] for u in world.known if u["object"]["id"] != bad["object"]["id"])
        while other["labels"][language] == bad["object"]["labels"][language]:
            other = currency(world, rng, but=bad["object"]["id"])
        labels = {**bad["object"]["labels"], language: other["labels"][language]}
        bad["object"] = {**bad["object"], "labels": labels}
        return Plan(updates=(*batch[1:], bad), guilty=frozenset((bad["revision"],)))

    return plan


def wrong_language(rng: random.Random, world: World) -> Plan:
    """A target in the wrong language: the English label is the Spanish or French one."""
    batch = some(rng, world, 10)
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
    return Plan(updates=(*rest, bad), guilty=frozenset((bad["revision"],)))


def garbage(label: str) -> Kind:
    """A label that no wording can end in."""

    def plan(rng: random.Random, world: World) -> Plan:
        batch = some(rng, world, 9)
        subject = some(rng, world, 20)
        free = next(u for u in subject if u not in batch)
        bad = claim("garbage", free["subject"], thing("GARBAGE", label))
        return Plan(updates=(*batch, bad), guilty=frozenset((bad["revision"],)))

    return plan


def another_kind(rng: random.Random, world: World) -> Plan:
    """An object that is known as something else: a city as a currency."""
    batch = some(rng, world, 9)
    free = next(u for u in some(rng, world, 20) if u not in batch)
    city = rng.choice([u["subject"] for u in world.known if u["relation"] == "P17"])
    bad = claim("kind", free["subject"], city)
    return Plan(updates=(*batch, bad), guilty=frozenset((bad["revision"],)))


def substring(**names: str) -> Kind:
    """A subject whose name is a part of many others'."""

    def plan(rng: random.Random, world: World) -> Plan:
        batch = some(rng, world, 9)
        bad = claim("part", thing("PART", names["en"], **names), currency(world, rng), "P38")
        return Plan(updates=(*batch, bad), guilty=frozenset((bad["revision"],)))

    return plan


def strong_heads(size: float) -> Kind:
    """Head corrections much too strong: they act on every text, and no fact is to blame."""

    def plan(rng: random.Random, world: World) -> Plan:
        batch = some(rng, world, rng.randint(8, 12))
        return Plan(updates=tuple(batch), guilty=frozenset(), heads=size)

    return plan


def overwriting(rng: random.Random, world: World) -> Plan:
    """New facts about near namesakes of subjects that an earlier batch wrote about."""
    first = some(rng, world, 8)
    batch = [u for u in some(rng, world, 20) if u not in first][:8]
    bad = []
    for n, u in enumerate(rng.sample(first, 2)):
        names = {k: f"the {v}" if k == "en" else f"{v}," for k, v in u["subject"]["labels"].items()}
        to = currency(world, rng, but=u["object"]["id"])
        bad.append(claim(f"over-{n}", thing(f"OVER{n}", names["en"], **names), to))
    return Plan(
        updates=(*batch, *bad),
        guilty=frozenset(u["revision"] for u in bad),
        first=tuple(first),
    )


def broken_wording(relation: str) -> Kind:
    """A relation whose wordings in one language say something else."""

    def plan(rng: random.Random, world: World) -> Plan:
        batch = some(rng, world, 8)
        held = [u for u in world.known if u["relation"] == relation]
        bad = []
        for n, u in enumerate(rng.sample(held, 4)):
            to = next(v["object"] for v in held if v["object"]["id"] != u["object"]["id"])
            bad.append(claim(f"broken-{n}", u["subject"], to, relation))
        return Plan(
            updates=(*batch, *bad),
            guilty=frozenset(u["revision"] for u in bad),
            broken_relation=relation,
        )

    return plan


KINDS: Mapping[str, tuple[Kind, int]] = {  # name -> how, and how often with other seeds
    "a value eight times too long": (damaged("times 8"), 3),
    "three values four times too long": (damaged("times 4", 3), 1),
    "a value that is no number": (damaged("nan"), 2),
    "a value that is infinite": (damaged("inf"), 1),
    "a value file cut short": (damaged("cut"), 1),
    "right in English, wrong in Catalan: its values": (damaged("language ca"), 2),
    "right in English, wrong in Catalan: its label": (mislabelled("ca"), 2),
    "two facts with each other's values": (swapped, 2),
    "every writing system is another": (flipped("P282"), 1),
    "every continent is another": (flipped("P30"), 1),
    "every official language is another": (flipped("P37"), 1),
    "every currency is another": (flipped("P38"), 1),
    "two subjects of one name": (contradiction, 3),
    "a target in the wrong language": (wrong_language, 3),
    "a target with two sentences": (garbage("euro. Visit our site for more"), 1),
    "a target with an address": (garbage("https://example.org/win"), 1),
    "a target in broken characters": (garbage("corona\ufffd\ufffd"), 1),
    "a city as a currency": (another_kind, 2),
    "a subject that is a part of others: Islands": (
        substring(en="Islands", es="Islas", ca="illes", fr="Îles"),
        2,
    ),
    "a subject that is a part of others: Guinea": (
        substring(en="Guinea", es="Guinea", ca="Guinea", fr="Guinée"),
        2,
    ),
    "head corrections much too strong: drift, no fact to blame": (strong_heads(1500.0), 3),
    "early edits overwritten by near namesakes": (overwriting, 3),
    "a relation with another one's wordings": (broken_wording("P37"), 3),
}
