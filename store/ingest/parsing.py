"""Fact updates from a file, line by line: a bad line is named with its number and reason and loses no good one."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import dropwhile
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

from factd.store.catalogue.catalogue import Catalogue
from factd.store.model.facts import Entity, FactUpdate

LINE_BYTES = 256 * 1024
EXCERPT = 200
ID_LENGTH, NAME_LENGTH, NAMES = 200, 1000, 500
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")


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


def read_updates(path: Path, catalogue: Catalogue, *, after: int = 0) -> Iterator[Line | BadLine]:
    """The lines of a JSONL file, or of a CSV file (by its suffix), in their order. Raises only OSError.

    after: number of the last line that was taken already.
    """
    with path.open("rb") as file:
        if path.suffix.lower() == ".csv":
            yield from dropwhile(lambda line: line.number <= after, _csv(file, catalogue))
        else:
            yield from read_lines(file, catalogue, after=after)


def read_item(number: int, data: Any, catalogue: Catalogue) -> Line | BadLine:
    """A fact update from one value of a JSON document: the ingest format."""
    try:
        if not isinstance(data, dict):
            raise _Wrong("no JSON object")
        return Line(number=number, update=_parse(data, catalogue))
    except _Wrong as error:
        excerpt = json.dumps(data)[:EXCERPT] if isinstance(data, dict | list) else repr(data)
        return BadLine(number=number, reason=str(error), excerpt=excerpt[:EXCERPT])


def read_lines(file: BinaryIO, catalogue: Catalogue, *, after: int = 0) -> Iterator[Line | BadLine]:
    """The lines of an open JSONL file."""
    for number, raw, whole in _bounded(file):
        if number <= after or not raw.strip():
            continue
        if not whole:
            reason = f"longer than {LINE_BYTES} bytes; split it or drop it"
            yield BadLine(number=number, reason=reason, excerpt=_excerpt(raw))
            continue
        try:
            yield Line(number=number, update=_parse(_object(raw), catalogue))
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
                yield Line(number=number, update=_parse(_nested(header, cells), catalogue))
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


def _parse(data: Mapping[str, Any], catalogue: Catalogue) -> FactUpdate:
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
            f"unknown relation {relation!r}; `factd relations list` shows the {len(catalogue)} of the catalogue"
        )
    valid_from, valid_to = _day(data, "valid_from"), _day(data, "valid_to")
    if valid_from and valid_to and valid_to <= valid_from:
        raise _Wrong(f"valid_to {valid_to} is not after valid_from {valid_from}")
    references, risk = _number(data, "references"), _number(data, "risk", most=1)
    return FactUpdate(
        source=_text(data, "source"),
        revision=_text(data, "revision"),
        event_time=_time(data),
        subject=_entity(data, "subject"),
        relation=relation,
        object=_entity(data, "object"),
        valid_from=valid_from,
        valid_to=valid_to,
        withdrawn=_truth(data, "withdrawn"),
        references=int(references) if references is not None else None,
        risk=risk,
        demand=_number(data, "demand") or 0.0,
    )


def _text(data: Mapping[str, Any], key: str, length: int = ID_LENGTH) -> str:
    value = data.get(key)
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"{key} must be a text that is not empty, not {value!r}"[:EXCERPT])
    _check_text(value, key, length)
    return value.strip()


def _check_text(value: str, key: str, length: int) -> None:
    """What a database or a terminal would choke on is refused here."""
    if len(value) > length:
        raise _Wrong(f"{key} is longer than {length} characters")
    if UNPRINTABLE.search(value):
        raise _Wrong(f"{key} holds a character that cannot be stored: {value!r}"[:EXCERPT])


def _truth(data: Mapping[str, Any], key: str) -> bool:
    value = data.get(key)
    if value in (None, False, "false", "") or value is True or value == "true":
        return value is True or value == "true"
    raise _Wrong(f"{key} must be true or false, not {value!r}"[:EXCERPT])


def _number(data: Mapping[str, Any], key: str, *, most: float = 1e12) -> float | None:
    value = data.get(key)
    if value is None:
        return None
    try:
        found = float(value) if isinstance(value, int | float | str) else -1.0
    except (ValueError, OverflowError):
        found = -1.0
    if isinstance(value, bool) or not isfinite(found) or not 0 <= found <= most:
        raise _Wrong(f"{key} must be a number from 0 to {most:g}, not {value!r}"[:EXCERPT])
    return found


def _time(data: Mapping[str, Any]) -> datetime:
    try:
        found = datetime.fromisoformat(_text(data, "event_time"))
    except ValueError as error:
        raise _Wrong(f"event_time is no ISO 8601 time: {data['event_time']!r}"[:EXCERPT]) from error
    if found.tzinfo is None:
        raise _Wrong("event_time has no zone; write 2023-01-01T00:00:00Z")
    if not 1000 <= found.year <= 9000:
        raise _Wrong(f"event_time {found.year} is no year that a source's clock shows")
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
    names = [*labels.values(), *(name for found in aliases.values() for name in found)]
    _check_names(key, [*labels, *aliases], names)
    try:
        name = _text(value, "id")
    except _Wrong as error:
        raise _Wrong(f"{key}.{error}") from error
    return Entity(id=name, labels=dict(labels), aliases={k: tuple(v) for k, v in aliases.items()})


def _check_names(key: str, languages: list[str], names: list[str]) -> None:
    wrong = [k for k in languages if not LANGUAGE.fullmatch(k)]
    if wrong:
        raise _Wrong(f"{key}: {wrong[0]!r} is no language as BCP 47 writes them"[:EXCERPT])
    if len(names) > NAMES:
        raise _Wrong(f"{key} has {len(names)} names, {NAMES} are the most")
    for name in names:
        _check_text(name, f"{key}'s name", NAME_LENGTH)
