"""`factd demo`: the model of 1998 learns what has happened since, through the whole real path.

Ingest the world as known facts, ingest the feed, edit, check, publish, take one fact back, roll
back, unfreeze. The steps are in daemon/tasks/demo.py; this file prints what they did.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from factd.daemon.app import App
from factd.daemon.cli.output import progress, show_table
from factd.daemon.editing.attempt import EditResult
from factd.daemon.errors import Refused
from factd.daemon.publishing import publish
from factd.daemon.tasks import demo
from factd.daemon.tasks.edit import plan_and_edit

Print = Callable[[str], Any]  # prints one line


def run_demo(directory: Path, *, quiet: bool) -> dict[str, Any]:
    """Run the whole cycle in a folder and print each step. Returns the figures, as JSON.

    quiet: print nothing. Raises: Refused: the folder is not a demo's, or the gates reject an edit.
    """
    started = time.monotonic()
    line: Print = (lambda _: None) if quiet else (lambda text: sys.stdout.write(text + "\n"))
    app = demo.prepare(directory)
    figures: dict[str, Any] = {"ingested": demo.ingest_world(app.ledger, app.prompts)}
    known, feed = figures["ingested"]["known"], figures["ingested"]["feed"]
    line(f"ingested   {known} facts the base model holds, {feed} updates since 1998")
    result = _edit(app, line)
    figures["update"] = demo.edit_figures(result)
    if not quiet:
        _print_answers(figures["update"]["answers"])
    reasons = "; ".join(result.decision.reasons)
    line(f"gate       {'accepted' if result.decision.accepted else 'rejected: ' + reasons}")
    if result.release is None:
        raise Refused(f"the gate refused the update: {reasons}")
    live = publish.publish(
        app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, result.release
    )
    figures["release"] = live.as_json()
    line(f"release    {live.number} is live in {app.config.publish.path / 'current'}")
    figures["rollback_fact"] = _take_croatia_back(app, line)
    seconds, figures["rollback_to"] = demo.switch_back(app, live.number)
    line(f"rollback   to release {live.number} in {seconds * 1000:.0f} ms, no model loaded")
    figures["seconds"] = round(time.monotonic() - started, 1)
    line(f"done       in {figures['seconds']} s; figures in {directory / 'demo.json'}")
    return figures


def _edit(app: App, line: Print) -> EditResult:
    with progress() as shown:
        result = plan_and_edit(app, who=demo.WHO, why="from 1998 to today", progress=shown)
    line(f"batch      {result.batch_id[:12]}: {result.facts} facts, {result.edits} edits")
    seconds, each = result.seconds["edit"], demo.seconds_per_edit(result)
    line(f"edited     {seconds:.1f} s, {each:.2f} s per edit")
    return result


def _print_answers(answers: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the table of right answers by language."""
    columns = ("edit", "unseen", "known_kept")
    rows = [
        [language, *(_share(row.get(name)) for name in columns)]
        for language, row in sorted(answers.items())
    ]
    show_table(
        "right answers, greedy",
        ("language", "edit wordings", "unseen wordings", "known facts kept"),
        rows,
    )


def _share(row: Mapping[str, Any] | None) -> str:
    """A share before and after, as text."""
    if row is None:
        return "not asked"
    before = f"{row['before']:.2f} → " if row["before"] is not None else ""
    return f"{before}{row['after']:.2f} of {row['n']}"


def _take_croatia_back(app: App, line: Print) -> dict[str, Any]:
    with progress() as shown:
        taken = demo.take_croatia_back(app, shown)
    line(
        f"rollback   of one fact, {taken.fact_id} (Croatia: euro): "
        f"release {taken.result.release}, {taken.result.seconds['edit']:.1f} s"
    )
    for prompt, answer in taken.before.items():
        line(f"           {prompt} … {answer}  →  {taken.after[prompt]}")
    return taken.as_json()
