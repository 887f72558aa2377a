"""Planted disasters counted by kind."""

from collections.abc import Iterable, Mapping
from typing import Any


def by_kind(rows: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Kind -> its number of scenarios, and in how many of them each goal was reached.

    rows: those of `ScenarioOutcome`. "searched": scenarios in which factd searched by solves for
    the facts that fail; in the others the fault was found before or without a search.
    """
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        kind = str(row["scenario"]).rsplit(" (", 1)[0]
        goals = {name: int(row[name]) for name in ("caught", "right facts", "others published")}
        one = {"times": 1, **goals, "searched": int(row["blame solves"] > 0)}
        held = found.setdefault(kind, dict.fromkeys(one, 0))
        found[kind] = {name: held[name] + count for name, count in one.items()}
    return found
