"""The drop folder: writers rename JSONL or CSV files into it.

A file that was read ends in `done/`, or with an error file in `failed/`. A file is claimed by
renaming it to `processing/`. If a crash leaves one there, reading goes on after the last line that
was stored. Nothing is deleted.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from factd.daemon.sources import (
    LINES,
    SourcePage,
    SourcePages,
    SourceReader,
    SourceSettings,
    SourceTools,
)
from factd.store.database.chunks import chunks
from factd.store.ingest.parsing import BadLine, read_updates
from factd.store.model.facts import Receipt

SUFFIXES = (".jsonl", ".json", ".csv")
FILES = 100  # the most files of one pull


class DropFolderSettings(SourceSettings):
    """[sources.drop_folder]"""

    path: Path = Path("inbox")
    """The folder into which files are renamed."""


Settings = DropFolderSettings  # the plugin loader looks for this name


def pages(
    settings: DropFolderSettings, cursor: Mapping[str, Any], tools: SourceTools
) -> SourcePages:
    """The files of the folder in the order of their names, some lines at a time.

    The cursor: {file, line} of a file that is not finished.
    """
    folder = settings.path
    places = {name: folder / name for name in ("processing", "done", "failed")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    waiting = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES)
    claimed = sorted(
        p for p in places["processing"].iterdir() if p.is_file() and p.suffix != ".errors"
    )
    for path in waiting[:FILES]:
        claimed.append(path.rename(unused(places["processing"] / path.name)))
    for path in claimed:
        after = int(cursor.get("line", 0)) if cursor.get("file") == path.name else 0
        yield from _file(path, after, places, tools)


def _file(path: Path, after: int, places: Mapping[str, Path], tools: SourceTools) -> SourcePages:
    receipt = Receipt(file=path.name, retrieved_at=tools.now())
    lines = read_updates(path, tools.catalogue, after=after)
    errors = path.with_name(path.name + ".errors")
    parts = chunks(lines, LINES)
    part = next(parts, [])
    while part:
        more = next(parts, [])
        # after the last lines the cursor is empty: a later file of this name is read from its start
        cursor = {"file": path.name, "line": part[-1].number} if more else {}
        report = yield SourcePage(lines=part, cursor=cursor, receipt=receipt)
        if report.bad:
            with errors.open("a", encoding="utf-8") as file:
                file.write(errors_text(report.bad))
        part = more
    goal = unused(places["failed" if errors.exists() else "done"] / path.name)
    if errors.exists():
        errors.rename(goal.with_name(goal.name + ".errors"))
    path.rename(goal)


def errors_text(bad: Sequence[BadLine]) -> str:
    """The text of an error file: number, reason and beginning of each bad line."""
    return "".join(f"line {line.number}: {line.reason}\t{line.excerpt}\n" for line in bad)


def unused(path: Path) -> Path:
    """The path, with a number added if a file of this name exists."""
    number, free = 1, path
    while free.exists():
        free, number = path.with_name(f"{path.stem}.{number}{path.suffix}"), number + 1
    return free


_: SourceReader = pages
