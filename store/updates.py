"""Fact updates from a file, line by line: a bad line is named with its number and reason and loses no good one."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, BinaryIO

from store.catalogue import Catalogue
from store.facts import Entity, FactUpdate

LINE_BYTES = 256 * 1024
EXCERPT = 200


@dataclass(frozen=True, kw_only=True)
class Line:
    """A good line."""

    number: int
    update: FactUpdate


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line that was set aside."""

    number: int
    reason: str
    excerpt: str


class _Wrong(Exception):
    """Why a line is no fact update."""


def read_updates(path: Path, catalogue: Catalogue) -> Iterator[Line | BadLine]:
    """The lines of a JSONL file, or of a CSV file (by its suffix), in their order. Raises only OSError."""
    with path.open("rb") as file:
        yield from (
            _csv(file, catalogue) if path.suffix.lower() == ".csv" else _jsonl(file, catalogue)
        )


def _jsonl(file: BinaryIO, catalogue: Catalogue) -> Iterator[Line | BadLine]:
    for number, raw, whole in _bounded(file):
        if not raw.strip():
            continue
        if not whole:
            reason = f"longer than {LINE_BYTES} bytes; split it or drop it"
            yield BadLine(number=number, reason=reason, excerpt=_excerpt(raw))
            continue
        try:
            yield Line(number=number, update=parse(_object(raw), catalogue))
        except _Wrong as error:
            yield BadLine(number=number, reason=str(error), excerpt=_excerpt(raw))


def _bounded(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """(number, bytes, whole?) of each line; of one that is too long only the start is held in memory."""
    number = 0
    while raw := file.readline(LINE_BYTES + 1):
        number += 1
        whole = raw.endswith(b"\n") or len(raw) <= LINE_BYTES
        rest = raw
        while not whole and rest and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES)
        yield number, raw[: LINE_BYTES + 1] if whole else raw[:EXCERPT], whole


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Wrong(f"invalid UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"broken JSON ({error})") from error
    if not isinstance(data, dict):
        raise _Wrong("no JSON object")
    return data


def _csv(file: BinaryIO, catalogue: Catalogue) -> Iterator[Line | BadLine]:
    """Columns source, revision, event_time, relation, valid_from, valid_to, subject.id, subject.label.en, object.id, …"""
    header: list[str] = []
    for number, raw, whole in _bounded(file):
        try:
            if not whole:
                raise _Wrong(f"longer than {LINE_BYTES} bytes; split it or drop it")
            cells = next(csv.reader([raw.decode("utf-8").rstrip("\r\n")]), [])
            if not header:
                header = cells
            elif cells:
                yield Line(number=number, update=parse(_nested(header, cells), catalogue))
        except (UnicodeDecodeError, csv.Error) as error:
            yield BadLine(number=number, reason=f"no CSV in UTF-8 ({error})", excerpt=_excerpt(raw))
        except _Wrong as error:
            yield BadLine(number=number, reason=str(error), excerpt=_excerpt(raw))


def _nested(header: list[str], cells: list[str]) -> Mapping[str, Any]:
    if len(cells) != len(header):
        raise _Wrong(f"{len(cells)} cells under {len(header)} columns")
    found: dict[str, Any] = {
        "subject": {"labels": {}, "aliases": {}},
        "object": {"labels": {}, "aliases": {}},
    }
    for column, cell in zip(header, cells, strict=True):
        side, _, rest = column.partition(".")
        kind, _, language = rest.partition(".")
        if side not in ("subject", "object"):
            found[column] = cell or None
        elif kind == "id":
            found[side]["id"] = cell
        elif kind == "label" and cell:
            found[side]["labels"][language] = cell
        elif kind == "aliases" and cell:
            found[side]["aliases"][language] = cell.split("|")
    return found


def _excerpt(raw: bytes) -> str:
    return raw[:EXCERPT].decode("utf-8", errors="replace").strip()


def parse(data: Mapping[str, Any], catalogue: Catalogue) -> FactUpdate:
    """A fact update from one object of the ingest format."""
    missing = [
        k
        for k in ("source", "revision", "event_time", "subject", "relation", "object")
        if data.get(k) is None
    ]
    if missing:
        raise _Wrong(f"{missing[0]} is missing")
    relation = _text(data, "relation")
    if relation not in catalogue:
        raise _Wrong(
            f"unknown relation {relation!r}; the catalogue has {', '.join(sorted(catalogue))}"
        )
    valid_from, valid_to = _day(data, "valid_from"), _day(data, "valid_to")
    if valid_from and valid_to and valid_to <= valid_from:
        raise _Wrong(f"valid_to {valid_to} is not after valid_from {valid_from}")
    return FactUpdate(
        source=_text(data, "source"),
        revision=_text(data, "revision"),
        event_time=_time(data),
        subject=_entity(data, "subject"),
        relation=relation,
        object=_entity(data, "object"),
        valid_from=valid_from,
        valid_to=valid_to,
    )


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"{key} must be a text that is not empty, not {value!r}"[:EXCERPT])
    return value.strip()


def _time(data: Mapping[str, Any]) -> datetime:
    try:
        found = datetime.fromisoformat(_text(data, "event_time"))
    except ValueError as error:
        raise _Wrong(f"event_time is no ISO 8601 time: {data['event_time']!r}"[:EXCERPT]) from error
    if found.tzinfo is None:
        raise _Wrong("event_time has no zone; write 2023-01-01T00:00:00Z")
    return found


def _day(data: Mapping[str, Any], key: str) -> date | None:
    if data.get(key) is None:
        return None
    try:
        return date.fromisoformat(_text(data, key))
    except ValueError as error:
        raise _Wrong(f"{key} is no day as 2023-01-01: {data[key]!r}"[:EXCERPT]) from error


def _entity(data: Mapping[str, Any], key: str) -> Entity:
    value = data[key]
    if not isinstance(value, dict):
        raise _Wrong(f"{key} must be an object with id and labels")
    labels, aliases = value.get("labels"), value.get("aliases") or {}
    if (
        not isinstance(labels, dict)
        or not labels
        or not all(isinstance(x, str) and x.strip() for x in labels.values())
    ):
        raise _Wrong(f"{key}.labels must name it in at least one language")
    if not isinstance(aliases, dict) or not all(
        isinstance(names, list) and all(isinstance(x, str) and x.strip() for x in names)
        for names in aliases.values()
    ):
        raise _Wrong(f"{key}.aliases must hold lists of names per language")
    try:
        name = _text(value, "id")
    except _Wrong as error:
        raise _Wrong(f"{key}.{error}") from error
    return Entity(id=name, labels=dict(labels), aliases={k: tuple(v) for k, v in aliases.items()})
