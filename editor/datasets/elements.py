"""From files to elements: JSON, JSON lines, CSV, folders of languages, elements of languages.

Languages come in three forms: an element that holds one object for each language, a file that holds
one list for each language, and a folder that holds a folder for each language.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factd.editor.datasets.drafts import Element
from factd.editor.datasets.records import BadRecord
from factd.editor.errors import BadEdit

LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
IDS = ("case_id", "id", "index")  # fields that name a fact
DEFAULT_LANGUAGE = "en"  # of a file that does not say


def read_elements(path: Path) -> tuple[list[Element], list[BadRecord]]:
    """The elements of a file or of a folder, and what is no element.

    Raises: BadEdit: the file cannot be read, or holds no list of objects.
    """
    found: list[Element | BadRecord] = []
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    for file in files:
        items, language = _items(file), _language_of(file)
        before = f"{file.relative_to(path)} " if path.is_dir() else ""
        for item, name in zip(items, _fact_names(items), strict=True):
            fact = f"{file.stem} {name}" if path.is_dir() else name
            id = f"{fact} {language}" if path.is_dir() else name
            place = f"{before}{item.place}"
            found += _elements(
                item, Element(place=place, id=id, fact=fact, language=language, fields={})
            )
    if not found:
        raise BadEdit(f"{path} holds no records")
    elements = [each for each in found if isinstance(each, Element)]
    return elements, [each for each in found if isinstance(each, BadRecord)]


@dataclass(frozen=True, kw_only=True)
class FileElement:
    """One item of a file's list."""

    place: str  # such as "line 3"
    value: Any = None  # JSON
    wrong: str = ""  # why it cannot be read

    @property
    def id(self) -> str:
        """The id that it gives its fact, also if only one of its languages has it; or nothing."""
        if not isinstance(self.value, Mapping):
            return ""
        by_language = _is_by_language(self.value)
        holders: list[Any] = list(self.value.values()) if by_language else [self.value]
        held = [h.get(name) for h in holders if isinstance(h, Mapping) for name in IDS]
        ids = [str(i) for i in held if isinstance(i, (int, str)) and str(i).strip()]
        return ids[0] if ids else ""


def _elements(item: FileElement, alone: Element) -> Iterator[Element | BadRecord]:
    """The elements in one item: one for each language, or `alone` with its fields."""
    value = item.value
    if item.wrong or not isinstance(value, Mapping):
        reason = item.wrong or f"not a JSON object: {value!r:.60}"
        yield BadRecord(place=alone.place, reason=reason)
    elif _is_by_language(value):
        for name, fields in value.items():
            place = f"{alone.place} {name}"
            if isinstance(fields, Mapping):
                id = f"{alone.fact} {name}"
                yield replace(alone, place=place, id=id, language=name, fields=fields)
            else:
                yield BadRecord(place=place, reason=f"not a JSON object: {fields!r:.60}")
    else:
        own = value.get("language")
        spoken = own if isinstance(own, str) and own.strip() else alone.language
        yield replace(alone, language=spoken, fields=value)


def _items(file: Path) -> list[FileElement]:
    """The list that a file is, whatever its outer form.

    Raises: BadEdit: it cannot be read, or is no list.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadEdit(f"{file} cannot be read as UTF-8 text: {error}") from error
    if file.suffix.lower() == ".csv":
        return _numbered("row", csv.DictReader(text.splitlines(keepends=True)))
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        return _lines(file, text, error)
    if isinstance(data, list):
        return _numbered("record", data)
    if _has_samples(data):
        return _numbered("sample", _samples(data))
    if isinstance(data, Mapping) and _is_by_language(data):
        return _numbered("record", _joined(data))
    return _numbered("line", [data])


def _numbered(noun: str, values: Iterable[Any]) -> list[FileElement]:
    return [
        FileElement(place=f"{noun} {n}", value=value) for n, value in enumerate(values, start=1)
    ]


def _lines(file: Path, text: str, error: json.JSONDecodeError) -> list[FileElement]:
    """The items of a file of JSON lines.

    Raises: BadEdit: it is no such file.
    """
    items: list[FileElement] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            items.append(_line(f"line {number}", line))
    if text.lstrip().startswith("[") or (items and all(item.wrong for item in items)):
        raise BadEdit(
            f"{file} is not JSON ({error.msg} at line {error.lineno} column {error.colno})"
        )
    return items


def _line(place: str, line: str) -> FileElement:
    try:
        return FileElement(place=place, value=json.loads(line))
    except json.JSONDecodeError as error:
        reason = f"not a JSON object ({error.msg} at column {error.colno})"
        return FileElement(place=place, wrong=reason)


def _samples(data: Mapping[str, Any]) -> list[Any]:
    """The samples of a KLAR file, each with the file's templates and relation."""
    shared = {k: v for k, v in data.items() if k != "samples"}
    return [
        {**shared, **sample} if isinstance(sample, Mapping) else sample
        for sample in data["samples"]
    ]


def _joined(data: Mapping[str, Any]) -> list[Any]:
    """A dictionary of languages as a list of elements that each hold their languages.

    Elements of two languages belong together if they have one id, or else one number.
    """
    joined: dict[str, dict[str, Any]] = {}
    for language, value in data.items():
        values = _samples(value) if _has_samples(value) else value
        for item in _numbered("number", values if isinstance(values, list) else [values]):
            joined.setdefault(item.id or item.place, {})[language] = item.value
    return list(joined.values())


def _has_samples(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("samples"), list)


def _is_by_language(value: Mapping[str, Any]) -> bool:
    """Whether all keys are languages, and all values objects or lists."""
    return bool(value) and all(
        isinstance(v, (Mapping, list)) and LANGUAGE.fullmatch(str(k)) for k, v in value.items()
    )


def _language_of(file: Path) -> str:
    """The language of a file: its folder's name, if that is one."""
    name = file.absolute().parent.name
    return name if re.fullmatch(r"[a-z]{2}", name) else DEFAULT_LANGUAGE


def _fact_names(items: Sequence[FileElement]) -> list[str]:
    """A name for the fact of each item: its id; its place if it has none or shares it."""
    ids = [item.id for item in items]
    counts = Counter(ids)
    return [
        item.place
        if not item.id
        else item.id
        if counts[item.id] == 1
        else f"{item.id} {item.place}"
        for item in items
    ]
