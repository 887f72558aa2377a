"""Wikidata's entities as claims, pure: ranks, qualifiers, references, redirects, and times that are known by the year.

Of a property's statements the best rank speaks: the preferred ones, else the normal ones, never a deprecated one. A
start (P580) and an end (P582) are the claim's validity; a statement that ended is kept as history at a lower rank too.
An unknown or missing value is no object. JSON as `wbgetentities` gives it: https://www.wikidata.org/w/api.php?action=help&modules=wbgetentities
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from factd.store.model.facts import Entity

START, END, POINT = "P580", "P582", "P585"
WEAK = {"P143", "P4656", "P887"}  # imported from a wiki, inferred: no reference of its own
TIME = re.compile(r"\+(\d{4})-(\d\d)-(\d\d)T")
DAY, MONTH, YEAR = 11, 10, 9  # precision
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One best statement of an entity, its object still without names where it is an item."""

    relation: str
    object: str  # an item's id, or the value itself
    is_item: bool
    valid_from: date | None
    valid_to: date | None
    references: int


@dataclass(frozen=True, kw_only=True)
class Item:
    """One entity as it is now."""

    id: str
    asked_as: str  # another id where it was redirected
    revision: int
    modified: datetime
    named: Entity
    statements: tuple[Statement, ...]


def items(data: Json, relations: Iterable[str], languages: Sequence[str]) -> Iterator[Item]:
    """The entities of an answer that exist. Raises: KeyError, TypeError, ValueError: it is no such answer."""
    wanted = tuple(sorted(relations))
    for key, entity in data["entities"].items():
        if "missing" in entity:
            continue
        redirected = entity.get("redirects") or {}
        yield Item(
            id=entity["id"],
            asked_as=redirected.get("from", key),
            revision=int(entity["lastrevid"]),
            modified=datetime.fromisoformat(entity["modified"]),
            named=named(entity, languages),
            statements=tuple(
                statement for relation in wanted for statement in speaking(entity, relation)
            ),
        )


def missing(data: Json) -> list[str]:
    """Ids that were asked for and do not exist (any more)."""
    return [key for key, entity in data["entities"].items() if "missing" in entity]


def named(entity: Json, languages: Sequence[str]) -> Entity:
    """An entity's names; its id stands for labels that it has in none of the languages."""
    labels = entity.get("labels") or {}
    aliases = entity.get("aliases") or {}
    found = {k: labels[k]["value"] for k in languages if k in labels}
    if "mul" in labels:  # one label for all languages
        found |= {k: labels["mul"]["value"] for k in languages if k not in found}
    others = {k: tuple(a["value"] for a in aliases[k]) for k in languages if k in aliases}
    return Entity(id=entity["id"], labels=found or {"und": entity["id"]}, aliases=others)


def speaking(entity: Json, relation: str) -> Iterator[Statement]:
    """The statements of the best rank whose value is known, and those of a lower one that have ended."""
    statements = (entity.get("claims") or {}).get(relation, [])
    ranks = {s.get("rank", "normal") for s in statements}
    best = "preferred" if "preferred" in ranks else "normal"
    today = datetime.fromisoformat(entity["modified"]).date()
    for statement in statements:
        rank = statement.get("rank", "normal")
        found = _statement(statement, relation) if rank != "deprecated" else None
        if found and (rank == best or (found.valid_to and found.valid_to <= today)):
            yield found


def _statement(statement: Json, relation: str) -> Statement | None:
    """None: its value is unknown, or its times contradict each other."""
    snak = statement["mainsnak"]
    value = _value(snak["datavalue"]) if snak["snaktype"] == "value" else None
    qualifiers = statement.get("qualifiers") or {}
    since, until = _first(qualifiers, START) or _first(qualifiers, POINT), _last(qualifiers)
    if value is None or (since and until and until <= since):
        return None
    return Statement(
        relation=relation,
        object=value[0],
        is_item=value[1],
        valid_from=since,
        valid_to=until,
        references=_references(statement),
    )


def _value(data: Json) -> tuple[str, bool] | None:
    """(id or text, is it an item?)"""
    value = data["value"]
    match data["type"]:
        case "wikibase-entityid":
            return value.get("id") or f"Q{value['numeric-id']}", True
        case "string":
            return value, False
        case "monolingualtext":
            return value["text"], False
        case "quantity":
            return value["amount"].lstrip("+"), False
        case "time":
            found = period(value)
            return (found[0].isoformat(), False) if found else None
    return None


def _references(statement: Json) -> int:
    """References that name more than the wiki it was copied from."""
    found = statement.get("references") or []
    return sum(bool(set(reference.get("snaks") or {}) - WEAK) for reference in found)


def _times(qualifiers: Json, name: str) -> list[tuple[date, date]]:
    snaks = [s for s in qualifiers.get(name, []) if s.get("snaktype") == "value"]
    return [found for s in snaks if (found := period(s["datavalue"]["value"]))]


def _first(qualifiers: Json, name: str) -> date | None:
    return min((first for first, _ in _times(qualifiers, name)), default=None)


def _last(qualifiers: Json) -> date | None:
    """The first day it no longer holds."""
    return max((after for _, after in _times(qualifiers, END)), default=None)


def period(value: Json) -> tuple[date, date] | None:
    """(first day, first day after it) of a time that is known by the day, the month or the year; None for coarser ones."""
    match, precision = TIME.match(value["time"]), int(value["precision"])
    if not match or precision < YEAR or match[1] == "0000":
        return None
    year, month, day = int(match[1]), int(match[2]), int(match[3])
    try:
        if precision >= DAY:
            first = date(year, month, day)
            return first, first + timedelta(days=1)
        if precision == MONTH:
            return date(year, month, 1), date(year + month // 12, month % 12 + 1, 1)
        return date(year, 1, 1), date(year + 1, 1, 1)
    except (ValueError, OverflowError):
        return None
