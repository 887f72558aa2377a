"""Wikidata's entities as claims. Pure functions over the JSON of `wbgetentities`.

Only a property's statements of the best rank count: the preferred ones if there are any, else the
normal ones. Deprecated statements never count. A start (P580) and an end (P582) are the claim's
validity. A statement that has ended is kept as history, also at a lower rank. Unknown and missing
values are skipped. Times that are known only by the month or the year are read as that period.

The JSON: https://www.wikidata.org/w/api.php?action=help&modules=wbgetentities
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from factd.store.model.facts import Entity

START, END, POINT = "P580", "P582", "P585"
WEAK = {"P143", "P4656", "P887"}  # "imported from", "inferred from": not references
TIME = re.compile(r"\+(\d{4})-(\d\d)-(\d\d)T")
DAY, MONTH, YEAR = 11, 10, 9  # Wikibase's numbers for the precision of a time
Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A statement of an entity that counts. An object that is an item has no names yet."""

    relation: str
    object: str  # an item's id, or the value itself
    is_item: bool
    valid_from: date | None
    valid_to: date | None
    references: int


@dataclass(frozen=True, kw_only=True)
class Item:
    """An entity in its current revision."""

    id: str
    asked_as: str  # differs from `id` if the item was redirected
    revision: int
    modified: datetime
    named: Entity
    statements: tuple[Statement, ...]


def items(data: Json, relations: Iterable[str], languages: Sequence[str]) -> Iterator[Item]:
    """The existing entities of a response.

    Raises: KeyError, TypeError, ValueError: the JSON has another form.
    """
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
                statement
                for relation in wanted
                for statement in counted_statements(entity, relation)
            ),
        )


def missing(data: Json) -> list[str]:
    """Ids that were requested and do not exist (any more)."""
    return [key for key, entity in data["entities"].items() if "missing" in entity]


def named(entity: Json, languages: Sequence[str]) -> Entity:
    """An entity's names. If it has no label in any of the languages, its id is the label."""
    labels = entity.get("labels") or {}
    aliases = entity.get("aliases") or {}
    own = {k: labels[k]["value"] for k in languages if k in labels}
    if "mul" in labels:  # one label for all languages
        own |= {k: labels["mul"]["value"] for k in languages if k not in own}
    others = {k: tuple(a["value"] for a in aliases[k]) for k in languages if k in aliases}
    return Entity(id=entity["id"], labels=own or {"und": entity["id"]}, aliases=others)


def counted_statements(entity: Json, relation: str) -> Iterator[Statement]:
    """The statements of the best rank, and statements of a lower rank that have ended."""
    statements = (entity.get("claims") or {}).get(relation, [])
    ranks = {s.get("rank", "normal") for s in statements}
    best = "preferred" if "preferred" in ranks else "normal"
    today = datetime.fromisoformat(entity["modified"]).date()
    for statement in statements:
        rank = statement.get("rank", "normal")
        read = _statement(statement, relation) if rank != "deprecated" else None
        if read and (rank == best or (read.valid_to and read.valid_to <= today)):
            yield read


def _statement(statement: Json, relation: str) -> Statement | None:
    """A statement. None: its value is unknown, or its end is not after its start."""
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
    """(item id or text, whether it is an item). None: a type that is not read."""
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
            days = period(value)
            return (days[0].isoformat(), False) if days else None
    return None


def _references(statement: Json) -> int:
    """The number of references that name more than the wiki that the statement was copied from."""
    references = statement.get("references") or []
    return sum(bool(set(reference.get("snaks") or {}) - WEAK) for reference in references)


def _times(qualifiers: Json, name: str) -> list[tuple[date, date]]:
    snaks = [s for s in qualifiers.get(name, []) if s.get("snaktype") == "value"]
    return [days for s in snaks if (days := period(s["datavalue"]["value"]))]


def _first(qualifiers: Json, name: str) -> date | None:
    return min((first for first, _ in _times(qualifiers, name)), default=None)


def _last(qualifiers: Json) -> date | None:
    """The first day on which the statement no longer holds."""
    return max((after for _, after in _times(qualifiers, END)), default=None)


def period(value: Json) -> tuple[date, date] | None:
    """(first day, first day after) of a time. None: it is known less precisely than by the year."""
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
