"""The only place that constructs things: configuration in, store, catalogue, versions and a model on demand out.

[model] path names the original model. Where the live release stands on a base that was baked since (daemon/tasks/rebase.py), the
path that everything else sees is that base's: `based` is the one place where this is looked up.
"""

import atexit
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.artefacts.versions import Versions
from factd.daemon.config.load import Config, load_config
from factd.daemon.config.tables import ModelTable
from factd.daemon.errors import BadConfig
from factd.daemon.gates.measures import gates_from
from factd.daemon.gates.policy import Gate
from factd.daemon.prompts.edits import Plan, Sizes
from factd.daemon.tracing import begin
from factd.store import queries
from factd.store.catalogue.catalogue import Catalogue, load_catalogue
from factd.store.database import migrate
from factd.store.database.session import Store
from factd.store.model.bases import FOLDER
from factd.store.model.resolution import Rules
from factd.store.queries.resolution import ConflictResolver

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from factd.daemon.leases import Held
    from factd.daemon.plugins import Configured, Served, Told, Written
    from factd.editor.exams.exam import Exam, Memory, Results
    from factd.editor.models.model import EditableModel
    from factd.editor.scoring.score import Answer, Probe


def utc_now() -> datetime:
    """The clock of factd."""
    return datetime.now(UTC)


@dataclass
class Workbench:
    """The base model, loaded when first asked for, and its answers, asked once."""

    table: ModelTable
    answers: Path  # a folder
    loaded: "EditableModel | None" = None
    memory: "Memory | None" = None

    def model(self) -> "EditableModel":
        """The base model, with its workers if it is to have any; they end with this process."""
        if self.loaded is None:
            from factd.editor.models.model import load_model

            table = self.table
            self.loaded = load_model(table.path, device=table.device, dtype=table.dtype)
            if table.workers:
                from factd.editor.models.ray_workers import ray_workers

                stack = ExitStack()
                atexit.register(stack.close)
                shared = ray_workers(self.loaded, table.workers, address=table.ray_address or None)
                self.loaded = stack.enter_context(shared)
        return self.loaded

    def base(self, exam: "Exam", terminator: str) -> "Results":
        """What the base model makes of an exam; it is asked once, also by a later process."""
        from factd.editor.exams.exam import Memory, sit

        model = self.model()
        if self.memory is None:
            self.memory = Memory.of(self.answers / f"{model.fingerprint}.json")
        return sit(model, exam, terminator=terminator, memory=self.memory)

    def base_answers(self, probes: "Sequence[Probe]", terminator: str) -> "tuple[Answer, ...]":
        """What the base model says to some probes."""
        from factd.editor.exams.exam import Exam

        return self.base(Exam(probes=tuple(probes)), terminator).answers


@dataclass(frozen=True, kw_only=True)
class Factd:
    """Everything that the steps need."""

    config: Config
    store: Store
    catalogue: Catalogue
    versions: Versions
    workbench: Workbench
    now: Callable[[], datetime]
    writer: "Held | None" = None  # the lease of whoever changes releases (daemon/leases.py)
    original: Path  # the model that was configured
    base: int = 0  # the number of the base that config.model.path leads to; 0: the original

    @cached_property
    def sources(self) -> "Mapping[str, Configured]":
        """The configured sources by name. Raises: BadConfig."""
        from factd.daemon.plugins import configured

        return configured(self.config)

    @cached_property
    def channels(self) -> "Mapping[str, Told]":
        """The channels that notices are told over, by name. Raises: BadConfig."""
        from factd.daemon.plugins import channels

        return channels(self.config)

    @cached_property
    def publishers(self) -> "Mapping[str, Written]":
        """What is written of a release, by name, the checkpoint first. Raises: BadConfig."""
        from factd.daemon.plugins import publishers

        return publishers(self.config)

    @cached_property
    def servers(self) -> "Mapping[str, Served]":
        """The servers that a release is handed to, by name. Raises: BadConfig."""
        from factd.daemon.plugins import servers

        return servers(self.config)

    @property
    def resolver(self) -> ConflictResolver:
        """What decides which claim holds."""
        conflicts = self.config.conflicts
        rules = Rules(order=conflicts.rules, corroborated_by=conflicts.corroborated_by)
        return ConflictResolver(catalogue=self.catalogue, rules=rules)

    @property
    def plan(self) -> Plan:
        """How facts are written and asked."""
        write, checks = self.config.write, self.config.checks
        return Plan(
            catalogue=self.catalogue,
            write=write.languages,
            served=self.config.served,
            edit_wordings=write.edit_wordings,
            keep_wordings=write.keep_wordings,
            keep_relations=write.keep_relations,
            sizes=Sizes(
                known=checks.known_sample,
                neighbours=checks.neighbours,
                namesakes=checks.namesakes,
                consequences=checks.consequences,
                earlier=checks.earlier_sample,
                ranked=checks.ranked,
                candidates=checks.candidates,
                texts=checks.text_sample,
            ),
        )

    @property
    def gates(self) -> tuple[Gate, ...]:
        """What a candidate must reach."""
        write, served = self.config.write.languages, self.config.served
        return gates_from(self.config.gates, write=write, served=served)

    def method_settings(self) -> Any:
        """The frozen settings of the configured method. Raises: BadSettings."""
        from factd.editor import plugins
        from factd.editor.settings import settings_from

        method = plugins.load("factd.editor.methods", self.config.method.name)
        return settings_from(method.Settings, self.config.method.settings())

    def base_folder(self, number: int) -> Path:
        """Where a base lies."""
        return self.config.state_dir / FOLDER / str(number) if number else self.original

    def candidate_folder(self, id_: int) -> Path:
        """Where a candidate's delta and report lie."""
        return self.config.state_dir / "candidates" / str(id_)

    @property
    def terminator(self) -> str:
        """The text behind every target, as the method writes it."""
        return str(getattr(self.method_settings(), "terminator", ""))

    @property
    def workspace(self) -> Path:
        """Values and statistics that are kept between edits."""
        return self.config.state_dir / "workspace"

    @contextmanager
    def changing(self) -> "Iterator[Session]":
        """A transaction that changes candidates or releases. Raises: Overtaken: another process does that now."""
        with self.store.begin() as session:
            if self.writer is not None:
                self.writer.confirm(session)
            yield session

    @property
    def epoch(self) -> int | None:
        """Of the writer's lease, for whoever switches versions."""
        return self.writer.epoch if self.writer else None


def open_factd(path: Path, *, now: Callable[[], datetime] = utc_now) -> Factd:
    """factd with a configuration file. Raises: BadConfig, BadRelation, SchemaOutdated."""
    config = load_config(path)
    found = build(config, now=now)
    with ExitStack() as refused:
        refused.callback(found.store.close)
        migrate.check(config.database, found.store.engine)
        begin(config.tracing)
        found = based(found)
        refused.pop_all()
    return found


def based(factd: Factd) -> Factd:
    """The same on the base of the release that is live now; itself where it is already."""
    with factd.store.read() as session:
        number = queries.bases.in_effect(session)
    return on_base(factd, number)


def on_base(factd: Factd, number: int) -> Factd:
    """The same on some base, which is loaded when first asked for; itself where it is already."""
    if number == factd.base:
        return factd
    table = factd.config.model.model_copy(update={"path": factd.base_folder(number)})
    config = factd.config.model_copy(update={"model": table})
    bench = Workbench(table, factd.workbench.answers)
    return replace(factd, config=config, base=number, workbench=bench)


def build(config: Config, *, now: Callable[[], datetime] = utc_now) -> Factd:
    """factd with a configuration; the database may still lack its schema."""
    return Factd(
        config=config,
        store=Store(config.database),
        catalogue=chosen(load_catalogue(*config.write.catalogue), config.write.relations),
        versions=Versions(config.publish.path, config.publish.keep),
        workbench=Workbench(config.model, config.state_dir / "workspace" / "answers"),
        now=now,
        original=config.model.path,
    )


def chosen(catalogue: Catalogue, ids: Sequence[str]) -> Catalogue:
    """Some relations of a catalogue; all where none are named. Raises: BadConfig: it has no such relation."""
    for id_ in ids:
        if id_ not in catalogue:
            raise BadConfig(f"write.relations: no relation {id_!r}; see `factd relations list`")
    return {id_: catalogue[id_] for id_ in ids} if ids else catalogue
