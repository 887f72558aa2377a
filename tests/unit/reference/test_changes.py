"""The changes of the demo on a real model are dated and have sources; CLDR has the currencies."""

import json
import tomllib
from datetime import date
from typing import Any

from babel.core import get_global

from factd.reference import paths
from factd.store.catalogue.catalogue import load_catalogue
from factd.store.catalogue.lint import lint_relation
from factd.store.ingest.parsing import ParsedLine, read_updates

FILE = paths.CHANGES / "changes.jsonl"
RELATIONS = paths.CHANGES / "relations"
CATALOGUE = load_catalogue(RELATIONS)


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (paths.CHANGES / name).read_text().splitlines()]


def test_every_change_is_a_fact_with_a_day_a_source_and_a_reference() -> None:
    changes = lines("changes.jsonl")
    assert len(changes) >= 12
    for change in changes:
        assert date.fromisoformat(change["valid_from"]) <= date(2026, 1, 1)
        assert change["event_time"].startswith(change["valid_from"])
        assert change["source"] in ("cldr", "public-record")
        assert change["reference"]
    assert all(isinstance(line, ParsedLine) for line in read_updates(FILE, CATALOGUE))


def test_cldr_has_the_currencies_that_changed_from_that_day_on() -> None:
    changed = [change for change in lines("changes.jsonl") if change["source"] == "cldr"]
    assert "HR" in {change["subject"]["id"] for change in changed}
    for change in changed:
        day = date.fromisoformat(change["valid_from"])
        tender = (change["object"]["id"], (day.year, day.month, day.day), None, True)
        assert tender in get_global("territory_currencies")[change["subject"]["id"]]


def test_at_most_a_quarter_of_the_changes_have_one_and_the_same_object() -> None:
    objects = [change["object"]["id"] for change in lines("changes.jsonl")]
    assert max(map(objects.count, objects)) <= len(objects) / 4


def test_every_relation_of_the_demo_has_a_chat_question_and_sound_wordings() -> None:
    chat = tomllib.loads((paths.CHANGES / "chat.toml").read_text())
    for change in lines("changes.jsonl"):
        relation = CATALOGUE[change["relation"]]
        assert chat[relation.id].count("{}") == 1
        assert lint_relation(relation, ("en",)) == []
        own = relation.wordings["en"]
        assert chat[relation.id] not in own.edit


def test_the_demo_loosens_no_gate() -> None:
    settings = tomllib.loads((paths.CHANGES / "settings.toml").read_text())
    assert "gates" not in settings


def test_what_must_not_change_is_no_subject_of_a_change_but_for_the_old_values() -> None:
    file = paths.CHANGES / "known.jsonl"
    assert all(isinstance(line, ParsedLine) for line in read_updates(file, CATALOGUE))
    changes = {
        (c["subject"]["id"], c["relation"]): c["object"]["id"] for c in lines("changes.jsonl")
    }
    known = [((k["subject"]["id"], k["relation"]), k["object"]["id"]) for k in lines("known.jsonl")]
    assert len({pair for pair, _ in known}) == len(known)
    assert all(held != changes[pair] for pair, held in known if pair in changes)
    assert sum(pair not in changes for pair, _ in known) >= 150  # a full sample for the gates
