"""A Wikidata of a few items. It answers `wbgetentities` like the real API.

The items have ranks, qualifiers, references and redirects.
"""

import json
from collections.abc import Mapping
from typing import Any

from support.fakes.http import Asked, Reply

NAMES = {
    "Q224": "Croatia",
    "Q142": "France",
    "Q4916": "euro",
    "Q26360": "Croatian kuna",
    "Q4917": "US dollar",
    "Q90": "Paris",
    "Q456": "Lyon",
    "Q3052772": "Emmanuel Macron",
    "Q157": "François Hollande",
    "Q999": "Hrvatska",
}


def time(text: str, precision: int = 11) -> dict[str, Any]:
    """A time value: +2023-01-01T00:00:00Z by the day, the month (10) or the year (9)."""
    return {
        "time": f"+{text}T00:00:00Z",
        "timezone": 0,
        "before": 0,
        "after": 0,
        "precision": precision,
        "calendarmodel": "http://www.wikidata.org/entity/Q1985727",
    }


def snak(property_: str, kind: str, value: Any) -> dict[str, Any]:
    return {
        "snaktype": "value",
        "property": property_,
        "hash": "0" * 40,
        "datavalue": {"value": value, "type": kind},
        "datatype": "wikibase-item",
    }


def item_value(id_: str) -> dict[str, Any]:
    return {"entity-type": "item", "numeric-id": int(id_[1:]), "id": id_}


def statement(
    property_: str,
    object_: str | None,
    *,
    guid: str = "",
    rank: str = "normal",
    start: dict[str, Any] | None = None,
    end: dict[str, Any] | None = None,
    references: int = 1,
    weak: bool = False,
) -> dict[str, Any]:
    """object_ None: an unknown value."""
    main = snak(property_, "wikibase-entityid", item_value(object_ or "Q1"))
    if object_ is None:
        main = {"snaktype": "somevalue", "property": property_, "hash": "0" * 40}
    qualifiers = {"P580": start, "P582": end}
    source = "P143" if weak else "P854"
    return {
        "mainsnak": main,
        "type": "statement",
        "id": guid or f"Q224${property_}-{object_}-{rank}",
        "rank": rank,
        "qualifiers": {k: [snak(k, "time", v)] for k, v in qualifiers.items() if v},
        "references": [
            {"hash": f"{n}", "snaks": {source: [snak(source, "string", "https://example.org")]}}
            for n in range(references)
        ],
    }


class Wikidata:
    """The state of the items; a test edits it."""

    def __init__(self) -> None:
        self.revision = 100
        self.items: dict[str, dict[str, Any]] = {}
        self.redirects: dict[str, str] = {}
        self.replies: list[Reply] = []  # given instead, in turn
        self.risks: dict[int, float] = {}
        self.put("Q224", P38=[statement("P38", "Q26360", rank="preferred")])

    def put(
        self, id_: str, *, label: str = "", at: str = "2026-11-01T00:00:00Z", **claims: Any
    ) -> int:
        """A new revision of an item; its number."""
        self.revision += 1
        self.items[id_] = {
            "pageid": int(id_[1:]),
            "ns": 0,
            "title": id_,
            "lastrevid": self.revision,
            "modified": at,
            "type": "item",
            "id": id_,
            "labels": _labels(label or NAMES[id_]),
            "aliases": {"en": [{"language": "en", "value": f"{id_} alias"}]},
            "claims": claims,
        }
        return self.revision

    def __call__(self, asked: Asked) -> Reply:
        if self.replies:
            return self.replies.pop(0)
        if asked.path.startswith("/risk/"):
            revision = int(asked.path.rsplit("/", 1)[1])
            chance = self.risks.get(revision, 0.0)
            return _json({"output": {"probabilities": {"true": chance, "false": 1 - chance}}})
        assert asked.query["action"] == "wbgetentities"
        assert asked.query["maxlag"] == "5"
        ids = asked.query["ids"].split("|")
        assert len(ids) <= 50
        props = asked.query["props"].split("|")
        return _json({"entities": dict(self.entity(id_, props) for id_ in ids), "success": 1})

    def entity(self, id_: str, props: list[str]) -> tuple[str, dict[str, Any]]:
        target = self.redirects.get(id_, id_)
        found = self.items.get(target)
        if found is None and target in NAMES:
            found = {"type": "item", "id": target, "lastrevid": 1, "labels": _labels(NAMES[target])}
        if found is None:
            return id_, {"id": id_, "missing": ""}
        keep = {"type", "id", *props}
        keep |= {"pageid", "ns", "title", "lastrevid", "modified"} if "info" in props else set()
        more = {"redirects": {"from": id_, "to": target}} if target != id_ else {}
        return target, {k: v for k, v in found.items() if k in keep} | more


def _labels(name: str) -> Mapping[str, Any]:
    return {k: {"language": k, "value": name} for k in ("en", "es")}


def _json(data: Any) -> Reply:
    return Reply(body=json.dumps(data).encode(), headers={"Content-Type": "application/json"})
