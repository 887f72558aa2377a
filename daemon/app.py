"""The application: this module constructs everything that a configuration file asks for.

`App` is handed to whole tasks, to the command line, the console and the daemon. The rooms below get
the one or two parts that they use.

[model] path names the original model. Where the live release stands on a base that was baked since
(daemon/tasks/rebase.py), the workbench loads that base instead: `based` is the one place where this
is looked up.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

from factd.daemon import plugins
from factd.daemon.artefacts.versions import Versions
from factd.daemon.configuration import Config, load_config
from factd.daemon.editing.parts import EditParts
from factd.daemon.errors import BadConfig
from factd.daemon.fleet import Fleet
from factd.daemon.gates.configured import Gates
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.prompts.edits import PromptSettings, SampleSizes
from factd.daemon.publishing import writer
from factd.daemon.tracing import begin
from factd.daemon.workbench import Workbench
from factd.store import queries
from factd.store.catalogue.catalogue import Catalogue, load_catalogue
from factd.store.database import migrate
from factd.store.database.session import Store
from factd.store.model.resolution import Rules
from factd.store.queries.resolution import ConflictResolver


def utc_now() -> datetime:
    """The clock of factd."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class App:
    """One configured factd, made of its parts."""

    config: Config
    ledger: Ledger
    paths: Paths
    versions: Versions
    workbench: Workbench

    @cached_property
    def sources(self) -> Mapping[str, plugins.ConfiguredSource]:
        """The configured sources by name. Raises: BadConfig."""
        return plugins.sources(self.config)

    @cached_property
    def channels(self) -> Mapping[str, plugins.ConfiguredChannel]:
        """The channels that notices are sent over, by name. Raises: BadConfig."""
        return plugins.channels(self.config)

    @cached_property
    def fleet(self) -> Fleet:
        """The servers that releases are handed to."""
        return Fleet(table=self.config.servers, load=partial(plugins.servers, self.config))

    @property
    def prompts(self) -> PromptSettings:
        """How facts are written and asked."""
        write, checks = self.config.write, self.config.checks
        return PromptSettings(
            catalogue=self.ledger.catalogue,
            write=write.languages,
            served=self.config.served,
            edit_wordings=write.edit_wordings,
            keep_wordings=write.keep_wordings,
            keep_relations=write.keep_relations,
            sizes=SampleSizes(
                known=checks.known_sample,
                neighbours=checks.neighbours,
                namesakes=checks.namesakes,
                consequences=checks.consequences,
                earlier=checks.earlier_sample,
                ranked=checks.ranked,
                candidates=checks.candidates,
                texts=checks.text_sample,
            ),
            checks=checks,
        )

    @property
    def gates(self) -> Gates:
        """What a candidate must reach."""
        config = self.config
        return Gates.of(config.gates, write=config.write.languages, served=config.served)

    @property
    def planning(self) -> PlanningRules:
        """What goes into a batch, when, and how much a day may bring."""
        config = self.config
        return PlanningRules(batch=config.planning, limits=config.limits, screen=config.screen)

    @property
    def edit_parts(self) -> EditParts:
        """What an edit works with."""
        return EditParts(
            ledger=self.ledger,
            paths=self.paths,
            versions=self.versions,
            workbench=self.workbench,
            prompts=self.prompts,
            gates=self.gates,
            planning=self.planning,
            sources=self.sources,
            fleet=self.fleet,
            blame=self.config.blame,
        )


def open_app(path: Path, *, now: Callable[[], datetime] = utc_now) -> App:
    """The application of a configuration file. Raises: BadConfig, BadRelation, SchemaOutdated."""
    config = load_config(path)
    app = build(config, now=now)
    with ExitStack() as refused:
        refused.callback(app.ledger.store.close)
        migrate.check(config.database, app.ledger.store.engine)
        begin(config.tracing)
        app = based(app)
        refused.pop_all()
    return app


def build(config: Config, *, now: Callable[[], datetime] = utc_now) -> App:
    """The application of a configuration. The database may still lack its schema."""
    catalogue = with_relations(load_catalogue(*config.write.catalogue), config.write.relations)
    conflicts = config.conflicts
    rules = Rules(order=conflicts.rules, corroborated_by=conflicts.corroborated_by)
    paths = Paths(state=config.state_dir, original=config.model.path)
    return App(
        config=config,
        ledger=Ledger(
            store=Store(config.database),
            now=now,
            resolver=ConflictResolver(catalogue=catalogue, rules=rules),
            lease_seconds=config.lease.seconds,
        ),
        paths=paths,
        versions=Versions(
            config.publish.path,
            config.publish.keep,
            table=config.publish,
            load=partial(plugins.publishers, config),
        ),
        workbench=Workbench(
            config.model, config.method, paths.workspace, original_path=paths.original
        ),
    )


def based(app: App) -> App:
    """The application on the base of the live release."""
    with app.ledger.read() as session:
        number = queries.bases.in_effect(session)
    return on_base(app, number)


def on_base(app: App, number: int) -> App:
    """The application on some base. The model is loaded when it is first needed."""
    bench = app.workbench
    if number == bench.base_number:
        return app
    table = bench.table.model_copy(update={"path": app.paths.base(number)})
    based_on = Workbench(
        table, bench.method, bench.workspace, base_number=number, original_path=bench.original_path
    )
    return replace(app, workbench=based_on)


@contextmanager
def writing(app: App, *, seize: bool = False) -> Iterator[App]:
    """The application as the one process that changes releases, on the live release's base.

    seize: take over from the present writer, whose work is then abandoned. Raises: Busy.
    """
    held = writer.writing(app.ledger, app.paths, app.versions, app.fleet, seize=seize)
    with held as ledger:
        yield app if ledger is app.ledger else based(replace(app, ledger=ledger))


def with_relations(catalogue: Catalogue, ids: Sequence[str]) -> Catalogue:
    """The relations with these ids, or the whole catalogue if no ids are given.

    Raises: BadConfig: the catalogue has no relation with one of the ids.
    """
    for id_ in ids:
        if id_ not in catalogue:
            raise BadConfig(f"write.relations: no relation {id_!r}; see `factd relations list`")
    return {id_: catalogue[id_] for id_ in ids} if ids else catalogue
