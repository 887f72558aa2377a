"""Invented facts and wordings that stand in no training text of the reference model.

The wordings and subjects are in reference/held-out.toml. New objects are currencies that CLDR names
and that neither the world of 1998 nor the feed has. Which facts are drawn depends only on the ids.
"""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from datetime import date
from functools import cache
from typing import Any

from factd.reference import paths
from factd.reference.world import (
    WorldClaim,
    WorldEntity,
    currency,
    facts_1998,
    feed,
    locales,
)

CURRENCY = "P38"
SINCE = date(2026, 1, 1)  # of every invented fact
NEW_OBJECTS = 20  # facts whose objects stand in no training text
MANY_OBJECTS = 32  # facts whose objects all differ and stand in the training text


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(paths.HELD_OUT_WORLD.read_text(encoding="utf-8"))


def wordings() -> dict[str, dict[str, tuple[str, ...]]]:
    """Relation -> language -> wordings that stand in no training text; each holds "{}" once."""
    return {
        relation: {language: tuple(texts) for language, texts in table.items()}
        for relation, table in _table()["wordings"].items()
    }


def new_subjects() -> list[WorldEntity]:
    """Territories that stand in no training text."""
    return [
        WorldEntity(id=f"held-out:{name}", labels=dict(labels))
        for name, labels in _table()["subjects"].items()
    ]


def new_currencies() -> list[WorldEntity]:
    """Currencies that stand in no training text, by code.

    Left out are metals and units of account (codes with X), and names that hold digits or brackets
    or are the name of a currency of the training text.
    """
    claims = [c for c in (*facts_1998(), *feed()) if c.relation == CURRENCY]
    taken = {c.object.id for c in claims}
    names = {label.casefold() for c in claims for label in c.object.labels.values()}
    found = []
    for code in sorted(set(locales()["en"].currencies) - taken):
        entity = currency(code)
        labels = [label.casefold() for label in entity.labels.values()]
        plain = not any(set("0123456789()") & set(label) for label in labels)
        inside = any(label in name or name == label for label in labels for name in names)
        if plain and not inside and code[0] != "X" and code.casefold() not in labels:
            found.append(entity)
    return found


def shuffled(claims: Iterable[WorldClaim], salt: str) -> list[WorldClaim]:
    """Claims in an order that depends only on their subjects and the salt."""
    return sorted(claims, key=lambda c: hashlib.sha256(f"{salt} {c.subject.id}".encode()).digest())


def stable_currencies() -> list[WorldClaim]:
    """The currencies of 1998 that no fact of the feed changes, in a fixed order."""
    changed = {claim.subject.id for claim in feed()}
    kept = [c for c in facts_1998() if c.relation == CURRENCY and c.subject.id not in changed]
    return shuffled(kept, "held out")


def _invented(subject: WorldEntity, target: WorldEntity) -> WorldClaim:
    return WorldClaim(subject=subject, relation=CURRENCY, object=target, since=SINCE)


def _known_currencies() -> list[WorldEntity]:
    """Every currency of the world of 1998 once, in a fixed order."""
    claims = shuffled((c for c in facts_1998() if c.relation == CURRENCY), "objects")
    return list({claim.object.id: claim.object for claim in claims}.values())


def many_objects() -> list[WorldClaim]:
    """Invented facts about known territories; no two have one object. All names are known."""
    claims = stable_currencies()[NEW_OBJECTS : NEW_OBJECTS + MANY_OBJECTS]
    left = _known_currencies()
    found = []
    for claim in claims:
        target = next(entity for entity in left if entity.id != claim.object.id)
        left.remove(target)
        found.append(_invented(claim.subject, target))
    return found


def new_objects() -> list[WorldClaim]:
    """Invented facts about known territories; their objects differ and are in no training text."""
    claims = stable_currencies()[:NEW_OBJECTS]
    return [_invented(c.subject, o) for c, o in zip(claims, new_currencies(), strict=False)]


def unknown_subjects() -> list[WorldClaim]:
    """Invented facts about territories of no training text; their objects differ and are known."""
    objects = _known_currencies()[-len(new_subjects()) :]
    return [_invented(s, o) for s, o in zip(new_subjects(), objects, strict=True)]
