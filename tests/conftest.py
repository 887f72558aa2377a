"""Options and fixtures of all tests: databases, a clock, an application, shared artefacts."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.signed_receiver import fake, replies, secret  # noqa: F401 - fixtures

os.environ.setdefault("OMP_NUM_THREADS", "1")

from factd.daemon.app import App, build
from factd.daemon.configuration import load_config
from factd.daemon.models import KNOWN, folder
from factd.store import queries
from factd.store.catalogue.catalogue import Catalogue, load_catalogue
from factd.store.database.session import Store
from factd.store.queries.resolution import ConflictResolver
from support.databases import CONFIGS, KEPT, SERVER, fresh_database, kept
from support.paths import GOLDEN
from support.shared_artefacts import SharedArtefacts
from support.world import NOW, Clock, Maker

CASES: pytest.StashKey[dict[tuple[str, ...], set[str]]] = pytest.StashKey()


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def resolver(catalogue: Catalogue) -> ConflictResolver:
    return ConflictResolver(catalogue=catalogue)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql", "both"),
        default="both",
        help="the database of the tests; both: tests of the store on both, whole cycles on SQLite",
    )
    parser.addoption("--cases", default="", help="write the table of source cases to this file")


def pytest_configure(config: pytest.Config) -> None:
    CONFIGS.append(config)
    config.stash[SERVER] = None
    config.stash[KEPT] = SharedArtefacts(
        Path(_folder_from_controller(config) or tempfile.mkdtemp(prefix="factd-kept-"))
    )
    config.stash[CASES] = {}


def _folder_from_controller(config: pytest.Config) -> str | None:
    """The folder of shared artefacts that the controlling process chose for this worker."""
    inputs: dict[str, str] = getattr(config, "workerinput", {})
    return inputs.get("kept")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker process of pytest-xdist where the shared artefacts are."""
    node.workerinput["kept"] = str(node.config.stash[KEPT].folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _folder_from_controller(config):
        shutil.rmtree(config.stash[KEPT].folder, ignore_errors=True)
    server = config.stash.get(SERVER, None)
    if server:
        server.stop()
    if config.getoption("--cases") and config.stash[CASES]:
        Path(config.getoption("--cases")).write_text(cases_text(config.stash[CASES]))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call":
        cases = item.config.stash[CASES]
        for marker in item.iter_markers("case"):
            cases.setdefault((*marker.args, item.name.split("[")[0]), set()).add(report.outcome)
    return report


def cases_text(cases: dict[tuple[str, ...], set[str]]) -> str:
    """The table of `docs/reference/source-cases.md`."""
    head = [
        "# What each source does when something goes wrong",
        "",
        (
            "`make source-cases` writes this table from the tests. "
            "Each test talks to a real HTTP server on"
        ),
        "loopback or to a real database, and stores what it takes in SQLite and in PostgreSQL.",
        "",
        "| source | case | outcome | test | result |",
        "|---|---|---|---|---|",
    ]
    rows = [
        f"| {' | '.join(case)} | {'passed' if outcomes == {'passed'} else 'FAILED'} |"
        for case, outcomes in sorted(cases.items(), key=lambda item: item[0][0])
    ]
    return "\n".join([*head, *rows, ""])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--database")
        names = ("sqlite", "postgresql") if chosen == "both" else (chosen,)
        metafunc.parametrize("backend", names, scope="session")


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "real_model" in getattr(item, "fixturenames", ()):
            item.add_marker("real_model")


@pytest.fixture(scope="session", params=KNOWN)
def real_model(request: pytest.FixtureRequest) -> Path:
    """The folder of a real model; a test runs for each one that factd knows.

    For one of them: `@pytest.mark.parametrize("real_model", ["smollm2"], indirect=True)`.
    """
    found = folder(request.param)
    if found is None:
        pytest.skip(f"the model {request.param} is not here; run `make models`")
    return found


@pytest.fixture(scope="session", name="kept")
def kept_fixture() -> SharedArtefacts:
    return kept()


@pytest.fixture
def database(backend: str, tmp_path: Path) -> str:
    return fresh_database(backend, tmp_path)


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    store = Store(database)
    with store.begin() as session:
        queries.releases.ensure_release_zero(session, now=NOW)
    yield store
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, database: str, clock: Clock) -> Iterator[Maker]:
    """Makes applications on a tiny model that is not loaded, with a clock that the test moves."""
    apps: list[App] = []

    def make_app(tables: str = "") -> App:
        path = tmp_path / "factd.toml"
        model = GOLDEN / "llama" / "model"
        path.write_text(f'[model]\npath = "{model}"\n[store]\nurl = "{database}"\n{tables}')
        apps.append(build(load_config(path), now=clock))
        return apps[-1]

    yield make_app
    for app in apps:
        app.ledger.store.close()
