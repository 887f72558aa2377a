"""The drop folder: writers rename JSONL or CSV files into it; they end in `done/` or, with an error file, in `failed/`.

A file is claimed by renaming it to `processing/`; what a crash left there is taken up again (ingesting twice changes
nothing). Nothing is deleted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.sources import Pulled, Source
from store.fact_queries import IngestReport, ingest
from store.updates import BadLine, read_updates

if TYPE_CHECKING:
    from daemon.bootstrap import Factd

SUFFIXES = (".jsonl", ".json", ".csv")
FILES = 100  # of one pull


def pull(factd: "Factd") -> Pulled:
    """Ingest every file of the folder, oldest name first."""
    folder = factd.config.sources.drop_folder
    places = {name: folder / name for name in ("processing", "done", "failed")}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    waiting = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES)
    claimed = sorted(p for p in places["processing"].iterdir() if p.is_file())
    for path in waiting[:FILES]:
        claimed.append(path.rename(unused(places["processing"] / path.name)))
    reports = [_take(factd, path, places) for path in claimed]
    return Pulled(
        source="drop_folder",
        files=len(reports),
        lines=sum(r.lines for r in reports),
        new=sum(r.new for r in reports),
        bad=sum(len(r.bad) for r in reports),
    )


def _take(factd: "Factd", path: Path, places: dict[str, Path]) -> IngestReport:
    with factd.store.begin() as session:
        lines = read_updates(path, factd.catalogue)
        report = ingest(session, lines, factd.catalogue, file=path.name, now=factd.now())
    goal = unused(places["failed" if report.bad else "done"] / path.name)
    if report.bad:
        goal.with_name(goal.name + ".errors").write_text(errors_text(report.bad), encoding="utf-8")
    path.rename(goal)
    return report


def errors_text(bad: Sequence[BadLine]) -> str:
    """One line per bad line: number, reason, its start."""
    return "".join(f"line {line.number}: {line.reason}\t{line.excerpt}\n" for line in bad)


def unused(path: Path) -> Path:
    """The path, or with a number where one of its name is there already."""
    number, found = 1, path
    while found.exists():
        found, number = path.with_name(f"{path.stem}.{number}{path.suffix}"), number + 1
    return found


_: Source = pull
