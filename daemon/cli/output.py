"""What commands print: one JSON document or a few lines on stdout; progress and logs on stderr."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from factd.daemon.editing.candidates import Progress as ReportProgress
from factd.daemon.log import log


def show(data: Any, lines: Sequence[str], *, as_json: bool) -> None:
    """Print the answer of a command: `data` as JSON, or `lines`."""
    if as_json:
        sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=1, default=str) + "\n")
    else:
        sys.stdout.write("\n".join(lines) + "\n")


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout."""
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console(file=sys.stdout).print(table)


def measured(value: float | None) -> str:
    """A measurement's value with three decimals."""
    return "no number" if value is None else f"{value:.3f}"


@contextmanager
def progress() -> Iterator[ReportProgress]:
    """Report progress on stderr: a bar on a terminal, elsewhere a log line for each tenth."""
    if not sys.stderr.isatty():
        yield _LoggedProgress()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done, total=total)

        yield report


@dataclass
class _LoggedProgress:
    """Logs the beginning of each stage, and then each tenth of it once."""

    tenths: dict[str, int] = field(default_factory=dict)  # of a stage, the last one logged

    def __call__(self, stage: str, done: int, total: int) -> None:
        tenth = done * 10 // total if total else 10
        if self.tenths.get(stage) != tenth:
            self.tenths[stage] = tenth
            log.info("progress", stage=stage, done=done, total=total)
