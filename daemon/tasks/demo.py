"""The steps of `factd demo`, in a folder of its own: prepare, ingest, take one fact back, go back.

Editing and publishing are the ordinary functions; daemon/cli/demo.py calls all in order and prints.
Which model is edited is in demo_worlds.py, what it is asked in demo_answers.py.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factd.daemon.app import App, build
from factd.daemon.configuration import load_config
from factd.daemon.editing.attempt import EditResult
from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.publishing import publish
from factd.daemon.tasks import take_back
from factd.daemon.tasks.demo_answers import DemoAnswer, compared, questions_about
from factd.daemon.tasks.demo_worlds import DemoWorld
from factd.store import queries
from factd.store.database import migrate
from factd.store.model.facts import Fact, FactStatus

CONFIG = """\
# Written by `factd demo`; the settings below the line are those of its model.
[model]
path = "{model}"

[checks.texts]
{texts}

# ---
{settings}
"""
RELATIONS = "relations"  # a folder beside the configuration, if the world has relations of its own
MARK = ".factd-demo"  # a file by which the folder of an earlier demo is known
WHO = "demo"


def prepare(world: DemoWorld, directory: Path) -> App:
    """A fresh folder with a configuration and a database. The folder of an earlier demo is emptied.

    Raises: Refused: the model is missing, or the folder holds something else.
    """
    if not (world.model / "config.json").is_file():
        raise Refused(
            f"the model of the demo is not in {world.model}; "
            "the reference model is trained with `make model`"
        )
    if directory.exists() and any(directory.iterdir()):
        if not (directory / MARK).exists():
            raise Refused(
                f"{directory} is not empty and no earlier demo's; name another folder with --dir"
            )
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / MARK).touch()
    if world.relations:
        shutil.copytree(world.relations, directory / RELATIONS)
    config = directory / "factd.toml"
    config.write_text(
        CONFIG.format(
            model=world.model,
            settings=world.settings.read_text(encoding="utf-8"),
            texts="\n".join(f'{language} = "{file}"' for language, file in world.texts.items()),
        ),
        encoding="utf-8",
    )
    app = build(load_config(config))
    migrate.upgrade(app.config.database)
    return app


def ingest_world(ledger: Ledger, prompts: PromptSettings, world: DemoWorld) -> dict[str, int]:
    """Ingest what the model holds as known facts, then the changes. Returns counts: new and bad."""
    counts = {}
    for name, path, known in (("known", world.known, True), ("feed", world.changes, False)):
        report = ingest_file(ledger, prompts, path, known=known)
        counts[name] = report.new
        counts["bad"] = counts.get("bad", 0) + len(report.bad)
    return counts


def changed_facts(ledger: Ledger) -> tuple[Fact, ...]:
    """The facts to write, the oldest change first."""
    with ledger.begin() as session:
        pending = queries.facts.list_facts(session, status=(FactStatus.PENDING,))
    return tuple(sorted(pending, key=lambda f: (str(f.update.valid_from), f.subject.id)))


def answer_shares(measurements: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Per language, the shares of right answers before and after."""
    chosen = {
        "edit": ("efficacy", "generation"),
        "unseen": ("paraphrase", "generation"),
        "known_kept": ("known_facts", "kept"),
    }
    shares: dict[str, dict[str, Any]] = {}
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
                shares.setdefault(m["language"], {})[name] = values
    return shares


def edit_figures(result: EditResult) -> dict[str, Any]:
    """The figures of an edit, as JSON."""
    return {
        **result.as_json(),
        "seconds_per_edit": round(seconds_per_edit(result), 4),
        "answers": answer_shares(result.report["measurements"]),
    }


def seconds_per_edit(result: EditResult) -> float:
    """The time that one edit of a batch took on average."""
    return result.seconds["edit"] / max(1, result.edits)


def version_folder(app: App, number: int) -> Path:
    """The checkpoint of a published release; the base model's for number 0."""
    return app.versions.table.path / "versions" / str(number) if number else app.config.model.path


def answers_about(
    app: App, world: DemoWorld, facts: Sequence[Fact], *, before: int, after: int
) -> tuple[DemoAnswer, ...]:
    """What two releases say about some facts. Both are loaded from their files."""
    asked = questions_about(facts, app.prompts, world.chat)
    return compared(version_folder(app, before), version_folder(app, after), asked)


@dataclass(frozen=True, kw_only=True)
class TakenBack:
    """A fact that was taken back, with the answers before and after."""

    fact: Fact
    result: EditResult
    answers: Sequence[DemoAnswer]

    def as_json(self) -> dict[str, Any]:
        """The figures, as JSON."""
        said = {
            "said_before": {a.question.text: a.before for a in self.answers},
            "said_after": {a.question.text: a.after for a in self.answers},
        }
        return {"fact": self.fact.id, **edit_figures(self.result), **said}


def take_one_back(app: App, world: DemoWorld, live: int, progress: Progress) -> TakenBack:
    """Take back the world's chosen fact: a new release, as if the fact had never been written.

    Raises: Refused: the fact is not in the live release, or the gates reject the one without it.
    """
    with app.ledger.begin() as session:
        held = set(queries.releases.release(session, live).fact_ids)
        history = queries.facts.history(session, *world.taken_back)
    fact = next((fact for fact in history if fact.id in held), None)
    if fact is None:
        raise Refused(f"release {live} does not hold the fact that the demo takes back")
    result = take_back.take_back(
        app, [fact.id], who=WHO, why="show that it works", progress=progress
    )
    if result.release is None:
        reasons = "; ".join(result.decision.reasons)
        raise Refused(f"the gate refused the set without {fact.id}: {reasons}")
    answers = answers_about(app, world, [fact], before=live, after=result.release)
    return TakenBack(fact=fact, result=result, answers=answers)


def switch_back(app: App, number: int) -> tuple[float, dict[str, Any]]:
    """Go back to a release by swapping a link, then unfreeze. Returns the seconds and figures."""
    started = time.monotonic()
    publish.roll_back_to(
        app.ledger,
        app.paths,
        app.versions,
        app.fleet,
        number,
        who=WHO,
        why="show that it takes no GPU",
    )
    seconds = time.monotonic() - started
    with app.ledger.begin() as session:
        queries.releases.unfreeze(session, who=WHO, now=app.ledger.now())
    figures = {"release": number, "seconds": round(seconds, 4), "current": app.versions.current()}
    return seconds, figures
