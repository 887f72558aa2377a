"""Servers in memory that fail on demand, and releases whose versions are small files.

They are for tests of what is decided about hand-overs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from factd.daemon.app import App
from factd.daemon.artefacts.proof import FILE, CertainAnswer, Proof, Question, dumped
from factd.daemon.errors import HandoverFailed
from factd.daemon.fleet import Fleet
from factd.daemon.plugins import ConfiguredServer
from factd.daemon.publishing import publish as publishing
from factd.daemon.rollout.targets import number_of
from factd.daemon.servers import Completion, Report, ServerSettings, Version
from factd.store import queries

PROMPTS = ("The currency of Croatia is the", "La moneda de Croàcia és")


def text_of(number: int) -> str:
    """The answer of a release to every prompt."""
    return f"answer {number}"


def said(text: str, *logprobs: float) -> CertainAnswer:
    return CertainAnswer(text=text, logprobs=logprobs)


def question(prompt: str, now: str, before: str = "kuna", base: str = "dinar") -> Question:
    return Question(
        prompt=prompt,
        language="en",
        answer=said(now, -0.1),
        answer_before=said(before, -0.1),
        answer_of_base=said(base, -0.1),
        is_telling=True,
    )


@dataclass
class Engine:
    """A server in memory: what it holds, and how it fails."""

    stages: bool = False
    asks: bool = True
    reports: bool = True
    serving: str = "factd-0-000000000000"
    staged: list[str] = field(default_factory=list)
    cache: dict[str, str] = field(default_factory=dict)
    keeps_weights: frozenset[int] = (
        frozenset()
    )  # releases that it reports as loaded, but did not load
    keeps_cache: bool = False
    lies: str = ""  # the version that it always reports
    fails: frozenset[str] = frozenset()  # "stage 7", "load 7", "complete"
    dies_of: int = -1  # loading this release crashes it for good
    done: list[str] = field(default_factory=list)

    def _may(self, what: str) -> None:
        dead = f"load {self.dies_of}" in self.done
        if dead or what in self.fails:
            self.done.append(f"{what} failed")
            raise HandoverFailed("it answered 500")

    def load(self, version: Version) -> None:
        self.done.append(f"load {version.number}")
        self._may(f"load {version.number}")
        if version.number not in self.keeps_weights:
            self.serving = version.name
        self.cache = self.cache if self.keeps_cache else {}

    def stage(self, version: Version) -> None:
        self._may(f"stage {version.number}")
        self.staged.append(version.name)

    def drop(self, version: Version) -> None:
        self.done.append(f"drop {version.number}")

    def report(self) -> Report:
        self._may("report")
        if not self.reports:
            return Report(serving=None)
        return Report(serving=self.lies or self.serving, loaded=(self.serving,))

    def complete(self, prompt: str, *, tokens: int, staged: Version | None = None) -> Completion:
        self._may("complete")
        held = number_of(self.serving) or 0
        if staged is not None:
            return Completion(
                text=text_of(staged.number if staged.number not in self.keeps_weights else held)
            )
        text = self.cache.setdefault(prompt, text_of(held))
        return Completion(text=f" {text}, which it has")

    def close(self) -> None:
        """Nothing is open."""


def connected_to(engine: Engine) -> Callable[[Any], Engine]:
    return lambda _: engine


def serve(app: App, engines: dict[str, Engine], *, canaries: tuple[str, ...] = ()) -> None:
    """Give an application servers in memory, as its configuration would."""
    found = {
        name: ConfiguredServer(
            name=name,
            settings=ServerSettings(kind="memory", canary=name in canaries),
            connect=connected_to(engine),
        )
        for name, engine in engines.items()
    }
    vars(app)["fleet"] = Fleet(table=app.config.servers, load=lambda: found)


def write(app: App, number: int, *, before: int = 0) -> None:
    """Write a version of a release that answers every prompt with `text_of` its number."""
    questions = tuple(question(p, text_of(number), text_of(before), text_of(0)) for p in PROMPTS)

    def fill(folder: Path) -> None:
        (folder / FILE).write_bytes(dumped(Proof(before=before, base=0, questions=questions)))

    app.versions.write(number, fill, {})


def accept(app: App, now: datetime) -> int:
    """Make an accepted release with its version on disk. Returns its number."""
    facts: dict[str, Any] = {"candidate_id": None, "delta_id": None, "fact_ids": ()}
    with app.ledger.begin() as session:
        queries.releases.ensure_release_zero(session, now=now)
        live = queries.releases.live_release(session)
        made = queries.releases.create_release(session, who="test", why="edit", now=now, **facts)
    if not app.versions.has(0):
        write(app, 0)
    write(app, made.number, before=live.number if live else 0)
    return made.number


def publish(app: App) -> int:
    """Publish a new release. Returns its number."""
    number = accept(app, app.ledger.now())
    publishing.publish(app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, number)
    return number
