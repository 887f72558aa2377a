"""What commands print: one JSON document or a few lines on stdout; progress and logs on stderr."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from factd.daemon.editing.candidates import Progress as Report
from factd.daemon.log import log


def show(data: Any, lines: Sequence[str], *, as_json: bool) -> None:
    """The answer of a command."""
    if as_json:
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n")
    else:
        sys.stdout.write("\n".join(lines) + "\n")


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout."""
    found = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        found.add_column(column)
    for row in rows:
        found.add_row(*row)
    Console(file=sys.stdout).print(found)


@contextmanager
def progress() -> Iterator[Report]:
    """A bar on a terminal, a log line for every tenth of the work elsewhere."""
    if not sys.stderr.isatty():
        yield _logged
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def told(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield told


def _logged(stage: str, done: int, total: int) -> None:
    if done == total or (total >= 10 and done % (total // 10) == 0):
        log.info("progress", stage=stage, done=done, total=total)
