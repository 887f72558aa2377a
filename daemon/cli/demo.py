"""`factd demo`: a model learns what has changed in the world, through the whole real path.

Ingest what the model holds as known facts, ingest the changes, edit, check, publish, take one fact
back, roll back, unfreeze. The steps are in daemon/tasks/demo.py; this file prints what they did.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from factd.daemon.app import App
from factd.daemon.cli.output import progress, show_table
from factd.daemon.editing.attempt import EditResult
from factd.daemon.errors import Refused
from factd.daemon.publishing import publish
from factd.daemon.tasks import demo, demo_answers
from factd.daemon.tasks.demo_answers import DemoAnswer
from factd.daemon.tasks.demo_worlds import DemoWorld
from factd.daemon.tasks.edit import plan_and_edit
from factd.store.model.facts import Fact

Print = Callable[[str], Any]  # prints one line
SHORT = 34  # characters of an answer in a table
FORM_NAMES = {"edit": "edit wordings", "unseen": "unseen wordings", "chat": "chat questions"}


def run_demo(world: DemoWorld, directory: Path, *, quiet: bool = False) -> dict[str, Any]:
    """Run the whole cycle in a folder and print each step. Returns the figures, as JSON.

    quiet: print nothing. Raises: Refused: the folder is not a demo's, the model is missing, or the
    gates reject an edit.
    """
    started = time.monotonic()
    line: Print = (lambda _: None) if quiet else (lambda text: sys.stdout.write(text + "\n"))
    app = demo.prepare(world, directory)
    line(f"model      {world.title}")
    figures: dict[str, Any] = {"model": world.name}
    figures["ingested"] = demo.ingest_world(app.ledger, app.prompts, world)
    known, feed = figures["ingested"]["known"], figures["ingested"]["feed"]
    line(f"ingested   {known} facts that the model holds, {feed} changes")
    changed = demo.changed_facts(app.ledger)
    number = _update(app, line, figures, quiet=quiet)
    if world.chat:
        _ask_about(app, world, changed, number, figures, quiet=quiet)
    figures["rollback_fact"] = _take_one_back(app, world, number, line)
    seconds, figures["rollback_to"] = demo.switch_back(app, number)
    line(f"rollback   to release {number} in {seconds * 1000:.0f} ms, no model loaded")
    figures["seconds"] = round(time.monotonic() - started, 1)
    line(f"done       in {figures['seconds']} s; figures in {directory / 'demo.json'}")
    return figures


def _update(app: App, line: Print, figures: dict[str, Any], *, quiet: bool) -> int:
    """Edit and publish. Returns the number of the live release."""
    result = _edit(app, line)
    figures["update"] = demo.edit_figures(result)
    if not quiet:
        _print_shares(figures["update"]["answers"])
    for aside in result.set_aside:
        line(f"set aside  {aside.fact_id}: {aside.reason}")
    reasons = "; ".join(result.decision.reasons)
    line(f"gate       {'accepted' if result.decision.accepted else 'rejected: ' + reasons}")
    if result.release is None:
        raise Refused(f"the gate refused the update: {reasons}")
    live = publish.publish(
        app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, result.release
    )
    figures["release"] = live.as_json()
    line(f"release    {live.number} is live in {app.config.publish.path / 'current'}")
    return live.number


def _edit(app: App, line: Print) -> EditResult:
    with progress() as shown:
        result = plan_and_edit(app, who=demo.WHO, why="the world has changed", progress=shown)
    line(f"batch      {result.batch_id[:12]}: {result.facts} facts, {result.edits} edits")
    seconds, each = result.seconds["edit"], demo.seconds_per_edit(result)
    line(f"edited     {seconds:.1f} s, {each:.2f} s per edit")
    return result


def _print_shares(answers: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the table of right answers by language, as the gate has seen them."""
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


def _ask_about(
    app: App,
    world: DemoWorld,
    changed: Sequence[Fact],
    number: int,
    figures: dict[str, Any],
    *,
    quiet: bool,
) -> None:
    """Ask the base model and the release about every change, also about those set aside."""
    answers = demo.answers_about(app, world, changed, before=0, after=number)
    figures["answers"] = [answer.as_json() for answer in answers]
    figures["totals"] = demo_answers.totals(answers)
    if quiet:
        return
    rows = [_fact_row(fact, [a for a in answers if a.question.fact == fact.id]) for fact in changed]
    show_table(
        f"what the model says about {len(changed)} changes, before → after",
        ("since", "asked", "completed: before", "after", "edit", "unseen", "in chat: after", ""),
        rows,
    )
    for form, total in figures["totals"].items():
        sys.stdout.write(
            f"right      {FORM_NAMES[form]}: {total['before']} → {total['after']} "
            f"of {total['asked']}\n"
        )


def _fact_row(fact: Fact, answers: Sequence[DemoAnswer]) -> list[str]:
    """A fact's row: its first completion and chat answer in words, the rest as counts."""
    by_form = {form: [a for a in answers if a.question.form == form] for form in FORM_NAMES}
    first, chat = by_form["edit"][0], by_form["chat"]
    return [
        str(fact.update.valid_from),
        first.question.text,
        _short(first.before),
        _short(first.after),
        *(f"{sum(a.right for a in by_form[k])}/{len(by_form[k])}" for k in ("edit", "unseen")),
        _short(chat[0].after) if chat else "",
        ("right" if chat[0].right else "wrong") if chat else "",
    ]


def _short(text: str) -> str:
    """The beginning of an answer, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHORT else line[: SHORT - 1] + "…"


def _take_one_back(app: App, world: DemoWorld, live: int, line: Print) -> dict[str, Any]:
    with progress() as shown:
        taken = demo.take_one_back(app, world, live, shown)
    language = app.prompts.served[0]
    labels = (taken.fact.subject.labels[language], taken.fact.object.labels[language])
    line(
        f"rollback   of one fact, {taken.fact.id} ({': '.join(labels)}): "
        f"release {taken.result.release}, {taken.result.seconds['edit']:.1f} s"
    )
    shown_forms: set[tuple[str, str]] = set()
    for answer in taken.answers:
        key = (answer.question.language, answer.question.form)
        if answer.question.form != "unseen" and key not in shown_forms:
            shown_forms.add(key)
            line(
                f"           {answer.question.text} … {_short(answer.before)}"
                f"  →  {_short(answer.after)}"
            )
    return taken.as_json()
