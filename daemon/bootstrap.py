"""The only place that constructs things: configuration in, store, catalogue, publisher and a model on demand out."""

import atexit
import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.config import Config, ModelTable, load_config
from daemon.errors import BadConfig, Busy
from daemon.policy import Gate
from daemon.publishers import Publisher
from daemon.publishers.local_directory import publisher
from daemon.render import Plan
from store import migrate
from store.catalogue import Catalogue, load_catalogue
from store.session import Store
from store.settling import Judge
from store.standings import Rules

if TYPE_CHECKING:
    from daemon.registry import Configured
    from editor.model import EditableModel
    from editor.score import Answer, Probe


def utc_now() -> datetime:
    """The clock of factd."""
    return datetime.now(UTC)


@dataclass
class Workbench:
    """The base model, loaded when first asked for, and its answers, asked once."""

    table: ModelTable
    loaded: "EditableModel | None" = None
    asked: dict[tuple[str, str, str | None], "Answer"] = field(default_factory=dict)

    def model(self) -> "EditableModel":
        """The base model, with its workers if it is to have any; they end with this process."""
        if self.loaded is None:
            from editor.model import load_model

            table = self.table
            self.loaded = load_model(table.path, device=table.device, dtype=table.dtype)
            if table.workers:
                from editor.ray_workers import ray_workers

                stack = ExitStack()
                atexit.register(stack.close)
                shared = ray_workers(self.loaded, table.workers, address=table.ray_address or None)
                self.loaded = stack.enter_context(shared)
        return self.loaded

    def base_answers(self, probes: "Sequence[Probe]", terminator: str) -> "tuple[Answer, ...]":
        """What the base model says to some probes."""
        from dataclasses import replace

        from editor.score import answers, is_right

        def key(probe: "Probe") -> tuple[str, str, str | None]:
            return probe.prompt, probe.target + terminator, probe.contrast

        fresh = list({key(p): p for p in probes if key(p) not in self.asked}.values())
        found = answers(self.model(), fresh, terminator=terminator)
        self.asked |= {key(p): answer for p, answer in zip(fresh, found, strict=True)}
        return tuple(
            replace(self.asked[key(p)], right=is_right(self.asked[key(p)].text, p.accepted))
            for p in probes
        )


@dataclass(frozen=True, kw_only=True)
class Factd:
    """Everything that the steps need."""

    config: Config
    store: Store
    catalogue: Catalogue
    publisher: Publisher
    workbench: Workbench
    now: Callable[[], datetime]

    @cached_property
    def sources(self) -> "Mapping[str, Configured]":
        """The configured sources by name. Raises: BadConfig."""
        from daemon.registry import configured

        return configured(self.config)

    @property
    def judge(self) -> Judge:
        """What decides which claim holds."""
        conflicts = self.config.conflicts
        rules = Rules(order=conflicts.rules, corroborated_by=conflicts.corroborated_by)
        return Judge(catalogue=self.catalogue, rules=rules)

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
            known_sample=checks.known_sample,
            neighbours=checks.neighbours,
        )

    @property
    def gates(self) -> tuple[Gate, ...]:
        """What a candidate must reach."""
        table, write, served = self.config.gates, self.config.write.languages, self.config.served
        return (
            Gate(
                check="efficacy", metric="generation", least=table.edit_generation, languages=write
            ),
            Gate(
                check="paraphrase",
                metric="generation",
                least=table.paraphrase_generation,
                languages=write,
            ),
            Gate(check="known_facts", metric="kept", least=table.known_kept, languages=served),
            Gate(
                check="neighbourhood",
                metric="success",
                least=table.neighbourhood_success,
                languages=write,
            ),
        )

    def method_settings(self) -> Any:
        """The frozen settings of the configured method. Raises: BadSettings."""
        from editor import plugins
        from editor.settings import settings_from

        method = plugins.load("editor.methods", self.config.method.name)
        return settings_from(method.Settings, self.config.method.settings())

    def candidate_folder(self, id_: int) -> Path:
        """Where a candidate's delta and report lie."""
        return self.config.state_dir / "candidates" / str(id_)

    @property
    def workspace(self) -> Path:
        """Values and statistics that are kept between edits."""
        return self.config.state_dir / "workspace"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One process at a time changes releases. Raises: Busy."""
        self.config.state_dir.mkdir(parents=True, exist_ok=True)
        with (self.config.state_dir / "lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Busy(
                    f"another factd works on {self.config.state_dir}; try again when it is done"
                ) from error
            yield


def open_factd(path: Path, *, now: Callable[[], datetime] = utc_now) -> Factd:
    """factd with a configuration file. Raises: BadConfig, BadRelation, SchemaOutdated."""
    config = load_config(path)
    migrate.check(config.database)
    return build(config, now=now)


def build(config: Config, *, now: Callable[[], datetime] = utc_now) -> Factd:
    """factd with a configuration; the database may still lack its schema."""
    return Factd(
        config=config,
        store=Store(config.database),
        catalogue=chosen(load_catalogue(*config.write.catalogue), config.write.relations),
        publisher=publisher(config.publish.path, config.publish.keep),
        workbench=Workbench(config.model),
        now=now,
    )


def chosen(catalogue: Catalogue, ids: Sequence[str]) -> Catalogue:
    """Some relations of a catalogue; all where none are named. Raises: BadConfig: it has no such relation."""
    for id_ in ids:
        if id_ not in catalogue:
            raise BadConfig(f"write.relations: no relation {id_!r}; see `factd relations list`")
    return {id_: catalogue[id_] for id_ in ids} if ids else catalogue
