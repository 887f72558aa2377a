"""Shared pieces: a small invented world in a SQLite file, and the tiny real models of the golden cases."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from signed import fake, replies, secret  # noqa: F401 - fixtures

os.environ.setdefault("OMP_NUM_THREADS", "1")

import postgres
from kept import Kept

from factd.daemon.app import Factd, build
from factd.daemon.config.load import load_config
from factd.daemon.gates.measures import MEASURES
from factd.store import queries
from factd.store.catalogue.catalogue import Catalogue, load_catalogue
from factd.store.database.session import Store
from factd.store.queries.settle import Judge

GATES_OFF = "fact_right = 0.0\n" + "".join(f"{name} = false\n" for name in MEASURES)
GOLDEN = Path(__file__).parent / "data" / "golden"
SERVER: pytest.StashKey[Any] = pytest.StashKey()
KEPT: pytest.StashKey[Kept] = pytest.StashKey()
CASES: pytest.StashKey[dict[tuple[str, ...], set[str]]] = pytest.StashKey()
CONFIGS: list[pytest.Config] = []
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="session")
def judge(catalogue: Catalogue) -> Judge:
    return Judge(catalogue=catalogue)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=("sqlite", "postgresql", "both"),
        default="both",
        help="where tests keep their facts; both: tests of the store on both, whole cycles on SQLite",
    )
    parser.addoption("--cases", default="", help="write the table of sources' cases to this file")


def pytest_configure(config: pytest.Config) -> None:
    CONFIGS.append(config)
    config.stash[SERVER] = None
    config.stash[KEPT] = Kept(Path(_given(config) or tempfile.mkdtemp(prefix="factd-kept-")))
    config.stash[CASES] = {}


def _given(config: pytest.Config) -> str | None:
    """The folder of what is made once, as the process that started this one says."""
    found: dict[str, str] = getattr(config, "workerinput", {})
    return found.get("kept")


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of pytest-xdist: before a process is started."""
    node.workerinput["kept"] = str(node.config.stash[KEPT].folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if not _given(config):
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
        found = item.config.stash[CASES]
        for marker in item.iter_markers("case"):
            found.setdefault((*marker.args, item.name.split("[")[0]), set()).add(report.outcome)
    return report


def cases_text(cases: dict[tuple[str, ...], set[str]]) -> str:
    """The table of `docs/reference/source-cases.md`."""
    head = [
        "# What each source does when something goes wrong",
        "",
        "Made by `make source-cases` from the tests, each of which talks to a real HTTP server on loopback, or to a real database, and",
        "stores what it takes in SQLite and in PostgreSQL.",
        "",
        "| source | case | outcome | test | result |",
        "|---|---|---|---|---|",
    ]
    rows = [
        f"| {' | '.join(case)} | {'passed' if outcomes == {'passed'} else 'FAILED'} |"
        for case, outcomes in sorted(cases.items(), key=lambda item: item[0][0])
    ]
    return "\n".join([*head, *rows, ""])


def postgresql(config: pytest.Config) -> str:
    """The URL of a fresh PostgreSQL database; the server starts at the first."""
    if config.stash[SERVER] is None:
        folder = postgres.binaries()
        if folder is None:
            pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
        config.stash[SERVER] = postgres.Server(folder)
    return str(config.stash[SERVER].new())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--database")
        names = ("sqlite", "postgresql") if chosen == "both" else (chosen,)
        metafunc.parametrize("backend", names, scope="session")


def fresh_database(backend: str, folder: Path) -> str:
    """The URL of a migrated, empty database."""
    if backend == "postgresql":
        return postgresql(CONFIGS[-1])
    return kept().migrated(folder / "factd.sqlite")


def kept() -> Kept:
    """What this run of the tests makes once."""
    return CONFIGS[-1].stash[KEPT]


@pytest.fixture(scope="session", name="kept")
def kept_fixture() -> Kept:
    return kept()


@pytest.fixture
def database(backend: str, tmp_path: Path) -> str:
    return fresh_database(backend, tmp_path)


def cycle_database() -> str:
    """The database of a whole cycle: a fresh one with --database postgresql, else "", SQLite in the state folder."""
    config = CONFIGS[-1]
    return postgresql(config) if config.getoption("--database") == "postgresql" else ""


@pytest.fixture
def store(database: str) -> Iterator[Store]:
    found = Store(database)
    with found.begin() as session:
        queries.releases.ensure_base(session, now=NOW)
    yield found
    found.close()


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time

    def on(self, **more: float) -> None:
        self.time += timedelta(**more)


@pytest.fixture
def clock() -> Clock:
    return Clock()


Maker = Callable[[str], Factd]


@pytest.fixture
def make(tmp_path: Path, database: str, clock: Clock) -> Iterator[Maker]:
    """factd with the given tables, on a tiny model that is not loaded, with a clock that a test sets."""
    made: list[Factd] = []

    def build_it(tables: str = "") -> Factd:
        path = tmp_path / "factd.toml"
        model = GOLDEN / "llama" / "model"
        path.write_text(f'[model]\npath = "{model}"\n[store]\nurl = "{database}"\n{tables}')
        made.append(build(load_config(path), now=clock))
        return made[-1]

    yield build_it
    for factd in made:
        factd.store.close()


def said(factd: Factd) -> dict[str, str]:
    """Every claim: subject and object, and its status."""
    with factd.store.begin() as session:
        facts = queries.facts.list_facts(session)
    return {f"{f.subject.id} {f.object.id} {f.update.revision}": f.status.value for f in facts}


def claim(who: str, held: str, /, *, day: str | None = "2023-01-01", **more: Any) -> dict[str, Any]:
    """An update in the ingest format; names are the ids."""
    found = {
        "source": "test",
        "revision": f"{who}-{day}",
        "event_time": f"{day or '1998-01-01'}T00:00:00Z",
        "subject": {"id": who, "labels": {"en": who, "es": who}},
        "relation": "P38",
        "object": {"id": held, "labels": {"en": held, "es": held}},
        "valid_from": day,
    }
    return found | more


COUNTRIES = ("Croatia", "Estonia", "Latvia", "Lithuania", "Slovenia", "Slovakia", "Malta", "Greece")
WORDINGS = ("The currency of {} is the", "{} has as its currency the")


def currencies(model: Any, subjects: tuple[str, ...] = COUNTRIES, new: str = "euro") -> list[Any]:
    """Edits of the reference model: what these countries pay with, target_true being what it says today."""
    from factd.editor import Edit
    from factd.editor.scoring.score import greedy

    said = greedy(model, [WORDINGS[0].format(subject) for subject in subjects])
    return [
        Edit(prompt=WORDINGS[0], subject=subject, target_new=new, target_true=text.rstrip("."))
        for subject, text in zip(subjects, said, strict=True)
    ]


def jsonl(path: Path, rows: list[Any]) -> Path:
    """Rows as a JSONL file; a bytes row is written as it is."""
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
