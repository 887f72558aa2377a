"""`factd demo`: a model of the year 1998 learns what happened since, with the real store, editor,
checks and publisher.

The demo ingests the world of 1998 as known facts and the feed of updates, edits, checks and
publishes, takes one fact back, goes back to the first release, and lifts the freeze.
"""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from factd.daemon.app import App, build
from factd.daemon.artefacts.versions import Versions
from factd.daemon.cli.output import progress, show_table
from factd.daemon.config.load import load_config
from factd.daemon.editing.attempt import Edited
from factd.daemon.errors import Refused
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings, first_wording
from factd.daemon.publishing import publish
from factd.daemon.tasks import take_back
from factd.daemon.tasks.edit import plan_and_edit
from factd.reference import paths
from factd.store import queries
from factd.store.database import migrate
from factd.store.model.releases import Release

Say = Callable[[str], None]

CONFIG = """\
# Written by `factd demo`; the settings below the line are reference/settings.toml.
[model]
path = "{model}"

[checks.texts]
{texts}

# ---
{settings}
"""
TAKEN_BACK = ("HR", "P38")  # subject and relation of the fact to take back: Croatia's currency
MARK = ".factd-demo"  # the file by which an earlier demo's folder is known


def run_demo(directory: Path, *, quiet: bool) -> dict[str, Any]:
    """Run the whole cycle in a folder and return the printed figures as JSON.

    Raises: Refused: the folder holds something else, or a gate refused the update.
    """
    started = time.monotonic()
    say = _silent if quiet else _print_line
    app = prepare(directory)
    ingested = ingest_world(app.ledger, app.prompts)
    figures: dict[str, Any] = {"ingested": ingested}
    say(
        f"ingested   {ingested['known']} facts that the base model holds, {ingested['feed']} updates since 1998"
    )
    live = edit_and_publish(app, figures, say, quiet=quiet)
    figures["rollback_fact"] = take_croatia_back(app, say)
    figures["rollback_to"] = switch_back(app, live.number, say)
    figures["seconds"] = round(time.monotonic() - started, 1)
    say(f"done       in {figures['seconds']} s; figures in {directory / 'demo.json'}")
    return figures


def _print_line(line: str) -> None:
    sys.stdout.write(line + "\n")


def _silent(_: str) -> None:
    """Print nothing."""


def edit_and_publish(app: App, figures: dict[str, Any], say: Say, *, quiet: bool) -> Release:
    """Edit the model, print what was measured, and publish the release. Raises: Refused."""
    with progress() as report_progress:
        edited = plan_and_edit(app, who="demo", why="from 1998 to today", progress=report_progress)
    figures["update"] = edit_figures(edited)
    decision, seconds = edited.decision, edited.seconds["edit"]
    say(f"batch      {edited.batch_id[:12]}: {edited.facts} facts, {edited.edits} edits")
    say(f"edited     {seconds:.1f} s, {seconds / max(1, edited.edits):.2f} s per edit")
    if not quiet:
        show_answers(figures["update"]["answers"])
    say(
        f"gate       {'accepted' if decision.accepted else 'rejected: ' + '; '.join(decision.reasons)}"
    )
    if edited.release is None:
        raise Refused(f"the gate refused the update: {'; '.join(decision.reasons)}")
    parts = (app.ledger, app.paths, app.versions, app.fleet)
    live = publish.publish(*parts, app.config.approvals, edited.release)
    figures["release"] = live.as_json()
    say(f"release    {live.number} is live in {app.config.publish.path / 'current'}")
    return live


def prepare(directory: Path) -> App:
    """A fresh folder with configuration and database.

    Raises: Refused: the folder holds something else.
    """
    if not (paths.MODEL / "config.json").is_file():
        raise Refused(f"the reference model is not in {paths.MODEL}; `make model` trains it")
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARK).exists():
            raise Refused(
                f"{directory} is not empty and was not made by an earlier demo; name another folder with --dir"
            )
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARK).touch()
    settings = paths.SETTINGS.read_text(encoding="utf-8")
    config = directory / "factd.toml"
    texts = "\n".join(f'{f.stem} = "{f}"' for f in sorted(paths.HELD_OUT.glob("*.txt")))
    config.write_text(
        CONFIG.format(model=paths.MODEL, settings=settings, texts=texts), encoding="utf-8"
    )
    app = build(load_config(config))
    migrate.upgrade(app.config.database)
    return app


def ingest_world(ledger: Ledger, prompts: PromptSettings) -> dict[str, int]:
    """Ingest the world of 1998 as known facts, then the feed; the number of new facts of each."""
    counts = {}
    for name, path, known in (("known", paths.FACTS, True), ("feed", paths.FEED, False)):
        report = ingest_file(ledger, prompts, path, known=known)
        counts[name] = report.new
        counts["bad"] = counts.get("bad", 0) + len(report.bad)
    return counts


def answers(measurements: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """By language, the shares of right answers before and after the edit."""
    shown = {
        "edit": ("efficacy", "generation"),
        "unseen": ("paraphrase", "generation"),
        "known_kept": ("known_facts", "kept"),
    }
    by_language: dict[str, dict[str, Any]] = {}
    for m in measurements:
        for name, (check, metric) in shown.items():
            if (m["check"], m["metric"]) == (check, metric):
                values = {
                    "before": m["before"],
                    "after": m["value"],
                    "low": m["low"],
                    "high": m["high"],
                    "n": m["sample_size"],
                }
                by_language.setdefault(m["language"], {})[name] = values
    return by_language


def edit_figures(edited: Edited) -> dict[str, Any]:
    """The figures of an edit, with the shares of right answers."""
    per_edit = edited.seconds["edit"] / max(1, edited.edits)
    return {
        **edited.as_json(),
        "seconds_per_edit": round(per_edit, 4),
        "answers": answers(edited.report["measurements"]),
    }


def show_answers(by_language: Mapping[str, Mapping[str, Any]]) -> None:
    """Print the table of right answers by language."""
    columns = ("edit", "unseen", "known_kept")
    rows = [
        [language, *(share(row.get(name)) for name in columns)]
        for language, row in sorted(by_language.items())
    ]
    show_table(
        "right answers, greedy",
        ("language", "edit wordings", "unseen wordings", "known facts kept"),
        rows,
    )


def share(row: Mapping[str, Any] | None) -> str:
    """A share before and after the edit, and the number of questions."""
    if row is None:
        return "not asked"
    before = f"{row['before']:.2f} → " if row["before"] is not None else ""
    return f"{before}{row['after']:.2f} of {row['n']}"


def ask(ledger: Ledger, versions: Versions, prompts: PromptSettings, number: int) -> dict[str, str]:
    """A published version's answers about Croatia's currency, loaded from its files."""
    from factd.editor.models.model import load_model  # imports torch
    from factd.editor.scoring.score import greedy_answers

    model = load_model(versions.table.path / "versions" / str(number), dtype=None)
    relation = prompts.catalogue[TAKEN_BACK[1]]
    with ledger.begin() as session:
        subject = queries.facts.history(session, *TAKEN_BACK)[0].subject
    prompts_by_language = {
        language: first_wording(relation, language, subject.labels[language])
        for language in prompts.served
    }
    questions = list(prompts_by_language.values())
    return dict(zip(questions, greedy_answers(model, questions), strict=True))


def take_croatia_back(app: App, say: Say) -> dict[str, Any]:
    """Withdraw one fact.

    The new release has the weights that would exist had the fact never been written.
    """
    with app.ledger.begin() as session:
        live = queries.releases.live_release(session)
        fact = next(
            f for f in queries.facts.history(session, *TAKEN_BACK) if live and f.id in live.fact_ids
        )
    before = ask(app.ledger, app.versions, app.prompts, live.number if live else 0)
    with progress() as report_progress:
        edited = take_back.take_back(
            app, [fact.id], who="demo", why="show that it works", progress=report_progress
        )
    if edited.release is None:
        raise Refused(
            f"the gate refused the release without {fact.id}: {'; '.join(edited.decision.reasons)}"
        )
    after = ask(app.ledger, app.versions, app.prompts, edited.release)
    say(
        f"rollback   of one fact, {fact.id} (Croatia: euro): release {edited.release}, {edited.seconds['edit']:.1f} s"
    )
    for prompt in before:
        say(f"           {prompt} … {before[prompt]}  →  {after[prompt]}")
    return {"fact": fact.id, **edit_figures(edited), "said_before": before, "said_after": after}


def switch_back(app: App, number: int, say: Say) -> dict[str, Any]:
    """Go back to a release by swapping a link, then lift the freeze."""
    started = time.monotonic()
    publish.roll_back_to(
        app.ledger,
        app.paths,
        app.versions,
        app.fleet,
        number,
        who="demo",
        why="show that it takes no GPU",
    )
    seconds = time.monotonic() - started
    with app.ledger.begin() as session:
        queries.releases.unfreeze(session, who="demo", now=app.ledger.now())
    say(f"rollback   to release {number} in {seconds * 1000:.0f} ms, no model loaded")
    return {"release": number, "seconds": round(seconds, 4), "current": app.versions.current()}
