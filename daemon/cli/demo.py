"""`factd demo`: the model of 1998 learns what happened since, through the real store, editor, checks and publisher.

Ingest the world as known facts, ingest the feed, edit, check, publish, take one fact back, roll back, go on.
"""

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from factd.daemon.app import App, build
from factd.daemon.artefacts.versions import Versions
from factd.daemon.cli.output import progress, table
from factd.daemon.config.load import load_config
from factd.daemon.editing.attempt import Edited
from factd.daemon.errors import Refused
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings, first_edit_prompt
from factd.daemon.publishing import publish
from factd.daemon.tasks import take_back
from factd.daemon.tasks.edit import plan_and_edit
from factd.reference import paths
from factd.store import queries
from factd.store.database import migrate

CONFIG = """\
# Written by `factd demo`; the settings below the line are reference/settings.toml.
[model]
path = "{model}"

[checks.texts]
{texts}

# ---
{settings}
"""
ASKED = ("HR", "P38")  # whose fact is taken back: Croatia's currency
MARK = ".factd-demo"


def run_demo(directory: Path, *, quiet: bool) -> dict[str, Any]:
    """The whole cycle in a folder; the figures that are printed, as JSON. Raises: Refused: the folder is no demo's."""
    started = time.monotonic()
    say: Callable[[str], Any] = (
        (lambda _: None) if quiet else (lambda line: sys.stdout.write(line + "\n"))
    )
    app = prepare(directory)
    figures: dict[str, Any] = {"ingested": ingest_world(app.ledger, app.prompts)}
    say(
        f"ingested   {figures['ingested']['known']} facts the base model holds, {figures['ingested']['feed']} updates since 1998"
    )
    with progress() as told:
        found = plan_and_edit(app, who="demo", why="from 1998 to today", progress=told)
    figures["update"] = outcome(found)
    say(f"batch      {found.batch_id[:12]}: {found.facts} facts, {found.edits} edits")
    say(
        f"edited     {found.seconds['edit']:.1f} s, {found.seconds['edit'] / max(1, found.edits):.2f} s per edit"
    )
    if not quiet:
        show_answers(figures["update"]["answers"])
    say(
        f"gate       {'accepted' if found.decision.accepted else 'rejected: ' + '; '.join(found.decision.reasons)}"
    )
    if found.release is None:
        raise Refused(f"the gate refused the update: {'; '.join(found.decision.reasons)}")
    live = publish.publish(
        app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, found.release
    )
    figures["release"] = live.as_json()
    say(f"release    {live.number} is live in {app.config.publish.path / 'current'}")
    figures["rollback_fact"] = take_croatia_back(app, say)
    figures["rollback_to"] = switch_back(app, live.number, say)
    figures["seconds"] = round(time.monotonic() - started, 1)
    say(f"done       in {figures['seconds']} s; figures in {directory / 'demo.json'}")
    return figures


def prepare(directory: Path) -> App:
    """A fresh folder with configuration and database."""
    if not (paths.MODEL / "config.json").is_file():
        raise Refused(f"the reference model is not in {paths.MODEL}; `make model` trains it")
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARK).exists():
            raise Refused(
                f"{directory} is not empty and no earlier demo's; name another folder with --dir"
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
    """The world of 1998 as what the base model holds, then the feed."""
    found = {}
    for name, path, known in (("known", paths.FACTS, True), ("feed", paths.FEED, False)):
        report = ingest_file(ledger, prompts, path, known=known)
        found[name] = report.new
        found["bad"] = found.get("bad", 0) + len(report.bad)
    return found


def answers(measurements: list[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per language, the shares of right answers before and after."""
    chosen = {
        "edit": ("efficacy", "generation"),
        "unseen": ("paraphrase", "generation"),
        "known_kept": ("known_facts", "kept"),
    }
    found: dict[str, dict[str, Any]] = {}
    for m in measurements:
        for name, (check, metric) in chosen.items():
            if (m["check"], m["metric"]) == (check, metric):
                values = {
                    "before": m["before"],
                    "after": m["value"],
                    "low": m["low"],
                    "high": m["high"],
                    "n": m["sample_size"],
                }
                found.setdefault(m["language"], {})[name] = values
    return found


def outcome(found: Edited) -> dict[str, Any]:
    """An edit's figures."""
    per_edit = found.seconds["edit"] / max(1, found.edits)
    return {
        **found.as_json(),
        "seconds_per_edit": round(per_edit, 4),
        "answers": answers(found.report["measurements"]),
    }


def show_answers(found: Mapping[str, Mapping[str, Any]]) -> None:
    """The table of the first minute."""
    columns = ("edit", "unseen", "known_kept")
    rows = [
        [language, *(share(row.get(name)) for name in columns)]
        for language, row in sorted(found.items())
    ]
    table(
        "right answers, greedy",
        ("language", "edit wordings", "unseen wordings", "known facts kept"),
        rows,
    )


def share(row: Mapping[str, Any] | None) -> str:
    """A share before and after, for people."""
    if row is None:
        return "not asked"
    before = f"{row['before']:.2f} → " if row["before"] is not None else ""
    return f"{before}{row['after']:.2f} of {row['n']}"


def ask(ledger: Ledger, versions: Versions, prompts: PromptSettings, number: int) -> dict[str, str]:
    """What the published version says about Croatia's currency, loaded as any server would."""
    from factd.editor.models.model import load_model
    from factd.editor.scoring.score import greedy_answers

    model = load_model(versions.table.path / "versions" / str(number), dtype=None)
    relation = prompts.catalogue[ASKED[1]]
    with ledger.begin() as session:
        subject = queries.facts.history(session, *ASKED)[0].subject
    asked = {
        language: first_edit_prompt(relation, language, subject.labels[language])
        for language in prompts.served
    }
    return dict(zip(asked.values(), greedy_answers(model, list(asked.values())), strict=True))


def take_croatia_back(app: App, say: Callable[[str], Any]) -> dict[str, Any]:
    """Withdraw one fact: a new release that is what would exist had it never been written."""
    with app.ledger.begin() as session:
        held = queries.releases.live_release(session)
        fact = next(
            f for f in queries.facts.history(session, *ASKED) if held and f.id in held.fact_ids
        )
    before = ask(app.ledger, app.versions, app.prompts, held.number if held else 0)
    with progress() as told:
        found = take_back.take_back(
            app, [fact.id], who="demo", why="show that it works", progress=told
        )
    if found.release is None:
        raise Refused(
            f"the gate refused the set without {fact.id}: {'; '.join(found.decision.reasons)}"
        )
    after = ask(app.ledger, app.versions, app.prompts, found.release)
    say(
        f"rollback   of one fact, {fact.id} (Croatia: euro): release {found.release}, {found.seconds['edit']:.1f} s"
    )
    for prompt in before:
        say(f"           {prompt} … {before[prompt]}  →  {after[prompt]}")
    return {"fact": fact.id, **outcome(found), "said_before": before, "said_after": after}


def switch_back(app: App, number: int, say: Callable[[str], Any]) -> dict[str, Any]:
    """Go back to a release by swapping a link, then go on."""
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
