"""Parsing fact updates, line by line.

A bad line is returned with its number and the reason, and the lines after it are still read.
"""

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

LINE_BYTES = 256 * 1024  # longest line
EXCERPT = 200  # longest excerpt of a bad line, in characters
ID_LENGTH, NAME_LENGTH = 200, 1000  # longest id and name, in characters
NAMES = 500  # most names of one thing
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True)
class ParsedLine:
    """A line that holds a valid fact update."""

    number: int
    update: FactUpdate


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line that is not a valid fact update, with the reason."""

    number: int
    reason: str
    excerpt: str


class _Wrong(Exception):
    """A line is not a valid fact update; the text is the reason."""


def read_updates(
    path: Path, catalogue: Catalogue, *, after: int = 0
) -> Iterator[ParsedLine | BadLine]:
    """The lines of a JSONL file, or of a CSV file (suffix .csv), in their order.

    after: number of the last line that was stored already; only later lines are returned.
    Raises: OSError: the file cannot be read. A bad line is a `BadLine` and raises nothing.
    """
    with path.open("rb") as file:
        if path.suffix.lower() == ".csv":
            yield from dropwhile(lambda line: line.number <= after, _csv(file, catalogue))
        else:
            yield from read_lines(file, catalogue, after=after)


def read_item(number: int, data: Any, catalogue: Catalogue) -> ParsedLine | BadLine:
    """A fact update from one value of a JSON document in the ingest format."""
    try:
        if not isinstance(data, dict):
            raise _Wrong("not a JSON object")
        return ParsedLine(number=number, update=_parse(data, catalogue))
    except _Wrong as error:
        excerpt = json.dumps(data)[:EXCERPT] if isinstance(data, dict | list) else repr(data)
        return BadLine(number=number, reason=str(error), excerpt=excerpt[:EXCERPT])


def read_lines(
    file: BinaryIO, catalogue: Catalogue, *, after: int = 0
) -> Iterator[ParsedLine | BadLine]:
    """The lines of an open JSONL file, in their order; empty lines are left out.

    after: only lines with a higher number are returned.
    """
    for number, raw, is_whole in _bounded_lines(file):
        if number <= after or not raw.strip():
            continue
        if not is_whole:
            reason = f"longer than {LINE_BYTES} bytes; split it or drop it"
            yield BadLine(number=number, reason=reason, excerpt=_excerpt(raw))
            continue
        try:
            yield ParsedLine(number=number, update=_parse(_object(raw), catalogue))
        except _Wrong as error:
            yield BadLine(number=number, reason=str(error), excerpt=_excerpt(raw))


def _bounded_lines(file: BinaryIO) -> Iterator[tuple[int, bytes, bool]]:
    """(number, bytes, whether the bytes are the whole line) of each line.

    Of a line that is too long, only the beginning is held in memory.
    """
    number = 0
    while raw := file.readline(LINE_BYTES + 1):
        number += 1
        is_whole = raw.endswith(b"\n") or len(raw) <= LINE_BYTES
        rest = raw
        while not is_whole and rest and not rest.endswith(b"\n"):
            rest = file.readline(LINE_BYTES)
        yield number, raw[: LINE_BYTES + 1] if is_whole else raw[:EXCERPT], is_whole


def _object(raw: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Wrong(f"invalid UTF-8 at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise _Wrong(f"broken JSON ({error})") from error
    if not isinstance(data, dict):
        raise _Wrong("not a JSON object")
    return data


def _csv(file: BinaryIO, catalogue: Catalogue) -> Iterator[ParsedLine | BadLine]:
    """The lines of an open CSV file after its header.

    The columns are source, revision, event_time, relation, valid_from, valid_to, subject.id,
    subject.label.en, subject.aliases.en (separated by "|"), object.id and so on.
    """
    header: list[str] = []
    for number, raw, is_whole in _bounded_lines(file):
        try:
            if not is_whole:
                raise _Wrong(f"longer than {LINE_BYTES} bytes; split it or drop it")
            cells = next(csv.reader([raw.decode("utf-8").rstrip("\r\n")]), [])
            if not header:
                header = cells
            elif cells:
                yield ParsedLine(number=number, update=_parse(_nested(header, cells), catalogue))
        except (UnicodeDecodeError, csv.Error) as error:
            reason = f"not CSV in UTF-8 ({error})"
            yield BadLine(number=number, reason=reason, excerpt=_excerpt(raw))
        except _Wrong as error:
            yield BadLine(number=number, reason=str(error), excerpt=_excerpt(raw))


def _nested(header: list[str], cells: list[str]) -> Mapping[str, Any]:
    """A CSV row in the ingest format."""
    if len(cells) != len(header):
        raise _Wrong(f"{len(cells)} cells under {len(header)} columns")
    data: dict[str, Any] = {
        "subject": {"labels": {}, "aliases": {}},
        "object": {"labels": {}, "aliases": {}},
    }
    for column, cell in zip(header, cells, strict=True):
        side, _, rest = column.partition(".")
        kind, _, language = rest.partition(".")
        if side not in ("subject", "object"):
            data[column] = cell or None
        elif kind == "id":
            data[side]["id"] = cell
        elif kind == "label" and cell:
            data[side]["labels"][language] = cell
        elif kind == "aliases" and cell:
            data[side]["aliases"][language] = cell.split("|")
    return data


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
            f"unknown relation {relation!r}; "
            f"`factd relations list` shows the {len(catalogue)} relations of the catalogue"
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
        withdrawn=_boolean(data, "withdrawn"),
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
    """Refuse texts that are too long, or that a database or a terminal cannot handle."""
    if len(value) > length:
        raise _Wrong(f"{key} is longer than {length} characters")
    if UNPRINTABLE.search(value):
        raise _Wrong(f"{key} holds a character that cannot be stored: {value!r}"[:EXCERPT])


def _boolean(data: Mapping[str, Any], key: str) -> bool:
    value = data.get(key)
    if value in (None, False, "false", "") or value is True or value == "true":
        return value is True or value == "true"
    raise _Wrong(f"{key} must be true or false, not {value!r}"[:EXCERPT])


def _number(data: Mapping[str, Any], key: str, *, most: float = 1e12) -> float | None:
    value = data.get(key)
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, int | float | str) else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if isinstance(value, bool) or not isfinite(number) or not 0 <= number <= most:
        raise _Wrong(f"{key} must be a number from 0 to {most:g}, not {value!r}"[:EXCERPT])
    return number


def _time(data: Mapping[str, Any]) -> datetime:
    text = _text(data, "event_time")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise _Wrong(f"event_time is not an ISO 8601 time: {text!r}"[:EXCERPT]) from error
    if moment.tzinfo is None:
        raise _Wrong("event_time has no zone; write 2023-01-01T00:00:00Z")
    if not 1000 <= moment.year <= 9000:
        raise _Wrong(f"event_time is in the year {moment.year}, not between 1000 and 9000")
    return moment


def _day(data: Mapping[str, Any], key: str) -> date | None:
    if data.get(key) is None:
        return None
    try:
        return date.fromisoformat(_text(data, key))
    except ValueError as error:
        raise _Wrong(f"{key} is not a day such as 2023-01-01: {data[key]!r}"[:EXCERPT]) from error


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
    names = [*labels.values(), *(name for group in aliases.values() for name in group)]
    _check_names(key, [*labels, *aliases], names)
    try:
        name = _text(value, "id")
    except _Wrong as error:
        raise _Wrong(f"{key}.{error}") from error
    return Entity(id=name, labels=dict(labels), aliases={k: tuple(v) for k, v in aliases.items()})


def _check_names(key: str, languages: list[str], names: list[str]) -> None:
    wrong = [k for k in languages if not LANGUAGE.fullmatch(k)]
    if wrong:
        raise _Wrong(f"{key}: {wrong[0]!r} is not a BCP 47 language tag"[:EXCERPT])
    if len(names) > NAMES:
        raise _Wrong(f"{key} has {len(names)} names; at most {NAMES} are allowed")
    for name in names:
        _check_text(name, f"{key}'s name", NAME_LENGTH)
