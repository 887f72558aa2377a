"""Parsing lines: a bad line has its number and a reason, and the other lines are still read."""

import json
from pathlib import Path
from typing import Any

import pytest

from factd.store.catalogue.catalogue import Catalogue
from factd.store.ingest.parsing import BadLine, ParsedLine, read_updates
from support.world import claim, jsonl


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in claim("HR", "EUR").items() if k != key}


BAD = [
    (b"{broken", "broken JSON"),
    (b"[1, 2]", "not a JSON object"),
    (b'"text"', "not a JSON object"),
    (b'{"a": "\xff"}', "invalid UTF-8"),
    (without("subject"), "subject is missing"),
    (without("event_time"), "event_time is missing"),
    (claim("HR", "EUR", relation="P99999"), "unknown relation"),
    (claim("HR", "EUR", relation=38), "relation must be a text"),
    (claim("HR", "EUR", event_time="yesterday"), "not an ISO 8601 time"),
    (claim("HR", "EUR", event_time="2023-01-01T00:00:00"), "has no zone"),
    (claim("HR", "EUR", event_time=20230101), "event_time must be a text"),
    (claim("HR", "EUR", valid_from="2023-13-01"), "valid_from is not a day"),
    (claim("HR", "EUR", valid_from="2023-01-01", valid_to="2022-01-01"), "is not after"),
    (claim("HR", "EUR", subject="HR"), "subject must be an object"),
    (claim("HR", "EUR", subject={"id": "HR", "labels": {}}), "subject.labels must name it"),
    (claim("HR", "EUR", subject={"id": "HR", "labels": {"en": 3}}), "subject.labels must name it"),
    (claim("HR", "EUR", object={"labels": {"en": "euro"}}), "object.id must be a text"),
    (
        claim("HR", "EUR", object={"id": "E", "labels": {"en": "e"}, "aliases": {"en": "x"}}),
        "aliases must hold",
    ),
    (b'{"x": "' + b"a" * 1_000_000 + b'"}', "longer than"),
    (b"[" * 200_000, "broken JSON"),
]


@pytest.mark.parametrize(("line", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_bad_line_has_its_number_and_reason_and_its_neighbours_are_read(
    line: Any, reason: str, tmp_path: Path, catalogue: Catalogue
) -> None:
    path = jsonl(tmp_path / "x.jsonl", [claim("HR", "EUR"), line, claim("FR", "EUR")])
    first, bad, last = list(read_updates(path, catalogue))
    assert isinstance(first, ParsedLine) and isinstance(last, ParsedLine)
    assert (first.update.subject.id, last.update.subject.id) == ("HR", "FR")
    assert isinstance(bad, BadLine)
    assert bad.number == 2
    assert reason in bad.reason
    assert len(bad.excerpt) <= 200


def test_a_claim_keeps_its_id_whatever_the_order_of_its_keys(
    tmp_path: Path, catalogue: Catalogue
) -> None:
    data = claim("HR", "EUR")
    other = dict(reversed(data.items()))
    path = jsonl(
        tmp_path / "x.jsonl", [data, other, data | {"event_time": "2023-01-01T01:00:00+01:00"}]
    )
    ids = [line.update.id for line in read_updates(path, catalogue) if isinstance(line, ParsedLine)]
    assert len(ids) == 3
    assert len(set(ids)) == 1


def test_csv_lines_are_read_like_jsonl_lines(tmp_path: Path, catalogue: Catalogue) -> None:
    header = "source,revision,event_time,relation,valid_from,subject.id,subject.label.en"
    header += ",object.id,object.label.en,object.aliases.en"
    rows = ["cldr,1,2023-01-01T00:00:00Z,P38,2023-01-01,HR,Croatia,EUR,euro,Euro|EUR", "too,few"]
    path = tmp_path / "x.CSV"
    path.write_text("\n".join([header, *rows]) + "\n")
    good, bad = list(read_updates(path, catalogue))
    assert isinstance(good, ParsedLine)
    assert good.update.object.names("en") == ("euro", "Euro", "EUR")
    assert isinstance(bad, BadLine)
    assert (bad.number, bad.reason) == (3, "2 cells under 10 columns")


def test_a_last_line_without_a_line_break_is_read(tmp_path: Path, catalogue: Catalogue) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(claim("HR", "EUR")))
    assert len(list(read_updates(path, catalogue))) == 1
