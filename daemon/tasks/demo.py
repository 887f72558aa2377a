"""The steps of `factd demo`, in a folder of its own: prepare, ingest, take one fact back, go back.

Editing and publishing are the ordinary functions; daemon/cli/demo.py calls all in order and prints.
"""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factd.daemon.app import App, build
from factd.daemon.artefacts.versions import Versions
from factd.daemon.configuration import load_config
from factd.daemon.editing.attempt import EditResult
from factd.daemon.editing.candidates import Progress
from factd.daemon.errors import Refused
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.ledger import Ledger
from factd.daemon.prompts.edits import PromptSettings, first_edit_prompt
from factd.daemon.publishing import publish
from factd.daemon.tasks import take_back
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
CROATIA, CURRENCY = "HR", "P38"  # subject and relation of the fact that is taken back
MARK = ".factd-demo"  # a file by which the folder of an earlier demo is known
WHO = "demo"


def prepare(directory: Path) -> App:
    """A fresh folder with a configuration and a database. The folder of an earlier demo is emptied.

    Raises: Refused: the reference model is missing, or the folder holds something else.
    """
    if not (paths.MODEL / "config.json").is_file():
        raise Refused(f"the reference model is not in {paths.MODEL}; train it with `make model`")
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
    """Ingest the world of 1998 as known facts, then the feed. Returns counts: new and bad."""
    counts = {}
    for name, path, known in (("known", paths.FACTS, True), ("feed", paths.FEED, False)):
        report = ingest_file(ledger, prompts, path, known=known)
        counts[name] = report.new
        counts["bad"] = counts.get("bad", 0) + len(report.bad)
    return counts


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


def ask(ledger: Ledger, versions: Versions, prompts: PromptSettings, number: int) -> dict[str, str]:
    """The answers of a published version about Croatia's currency, by prompt.

    The version is loaded from its files, as any server does.
    """
    from factd.editor.models.model import load_model  # needs torch
    from factd.editor.scoring.score import greedy_answers

    model = load_model(versions.table.path / "versions" / str(number), dtype=None)
    relation = prompts.catalogue[CURRENCY]
    with ledger.begin() as session:
        subject = queries.facts.history(session, CROATIA, CURRENCY)[0].subject
    asked = [
        first_edit_prompt(relation, language, subject.labels[language])
        for language in prompts.served
    ]
    return dict(zip(asked, greedy_answers(model, asked), strict=True))


@dataclass(frozen=True, kw_only=True)
class TakenBack:
    """A fact that was taken back, with the answers before and after, by prompt."""

    fact_id: str
    result: EditResult
    before: Mapping[str, str]
    after: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """The figures, as JSON."""
        said = {"said_before": dict(self.before), "said_after": dict(self.after)}
        return {"fact": self.fact_id, **edit_figures(self.result), **said}


def take_croatia_back(app: App, progress: Progress) -> TakenBack:
    """Take back Croatia's currency: a new release, as if the fact had never been written.

    Raises: Refused: the gates reject the release without the fact.
    """
    with app.ledger.begin() as session:
        live = queries.releases.live_release(session)
        history = queries.facts.history(session, CROATIA, CURRENCY)
        fact = next(fact for fact in history if live and fact.id in live.fact_ids)
    before = ask(app.ledger, app.versions, app.prompts, live.number if live else 0)
    result = take_back.take_back(
        app, [fact.id], who=WHO, why="show that it works", progress=progress
    )
    if result.release is None:
        reasons = "; ".join(result.decision.reasons)
        raise Refused(f"the gate refused the set without {fact.id}: {reasons}")
    after = ask(app.ledger, app.versions, app.prompts, result.release)
    return TakenBack(fact_id=fact.id, result=result, before=before, after=after)


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
