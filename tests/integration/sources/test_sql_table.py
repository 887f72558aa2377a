"""The SQL source reads a table of another database, on SQLite and PostgreSQL.

The tests cover its watermark and overlap, and late, changed and deleted rows.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from factd.daemon.app import App
from factd.daemon.errors import SourceFailed
from factd.daemon.ingestion.pull import pull
from factd.store.database.session import make_engine
from support.databases import postgresql
from support.world import NOW, Clock, Maker, fact_statuses

TABLE = """
[sources.register]
kind = "sql_table"
url_file = "register.url"
table = "facts_view"
overlap_seconds = 600
compare_seconds = 3600
{more}
"""
CREATE = """CREATE TABLE facts_view (id INTEGER PRIMARY KEY, updated_at {time} NOT NULL, \
subject_id VARCHAR(20),
subject_label_en VARCHAR(20), subject_aliases_en VARCHAR(40), relation VARCHAR(9), \
object_id VARCHAR(20),
object_label_en VARCHAR(20), valid_from DATE)"""
case = pytest.mark.case


class Register:
    """The other database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        kind = "TIMESTAMPTZ" if engine.dialect.name == "postgresql" else "TIMESTAMP"
        self(CREATE.format(time=kind))

    def __call__(self, statement: str, **values: Any) -> None:
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)

    def put(self, id_: int, who: str, held: str, *, minutes: float = 0) -> None:
        at: Any = NOW - timedelta(minutes=60) + timedelta(minutes=minutes)
        if self.engine.dialect.name == "sqlite":
            at = at.replace(tzinfo=None).isoformat(" ", timespec="microseconds")
        self("DELETE FROM facts_view WHERE id = :id", id=id_)
        self(
            "INSERT INTO facts_view "
            "VALUES (:id, :at, :who, :who, 'A|B', 'P38', :held, :held, '2023-01-01')",
            id=id_,
            at=at,
            who=who,
            held=held,
        )


@pytest.fixture
def register(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Register]:
    url = f"sqlite:///{tmp_path / 'register.sqlite'}"
    if backend == "postgresql":
        url = postgresql(request.config)
    (tmp_path / "register.url").write_text(url)
    engine = make_engine(url)
    yield Register(engine)
    engine.dispose()


@pytest.fixture
def app(make: Maker, register: Register) -> App:
    return make(TABLE.format(more=""))


@case("sql_table", "new rows; the same rows again", "each once, from the watermark on")
def test_rows_are_taken_once(app: App, register: Register) -> None:
    for number in range(5):
        register.put(number, f"T{number}", "EUR", minutes=number)
    found = pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    assert (found.new, found.bad) == (5, 0)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "register").new == 0
    register.put(9, "T9", "EUR", minutes=20)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "register").new == 1


@case("sql_table", "a row that was committed late, with an earlier time", "taken by the overlap")
def test_a_late_row_is_taken(app: App, register: Register) -> None:
    register.put(1, "HR", "EUR", minutes=30)
    pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    register.put(2, "FR", "EUR", minutes=25)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "register").new == 1


@case("sql_table", "many rows with one time", "none is lost between pages")
def test_many_rows_with_one_time_are_all_taken(
    make: Maker, register: Register, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("factd.daemon.sources.sql_table.LINES", 3)
    app = make(TABLE.format(more="max_pages = 2"))
    for number in range(20):
        register.put(number, f"T{number}", "EUR")
    assert [
        pull(app.ledger, app.paths, app.prompts, app.sources, "register").new for _ in range(5)
    ] == [6, 6, 6, 2, 0]


@case(
    "sql_table",
    "a row that says something else now",
    "the new value holds, the old one is taken back",
)
def test_a_changed_row_takes_back_what_it_said(app: App, register: Register) -> None:
    register.put(1, "HR", "USD")
    pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    register.put(1, "HR", "EUR", minutes=5)
    pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    found = {
        key.split()[1]: status for key, status in fact_statuses(app).items() if status != "notice"
    }
    assert found == {"USD": "withdrawn", "EUR": "pending"}


@case("sql_table", "a deleted row", "taken back at the next full compare")
def test_a_deleted_row_is_taken_back(app: App, register: Register, clock: Clock) -> None:
    register.put(1, "HR", "EUR")
    register.put(2, "FR", "EUR")
    pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    register("DELETE FROM facts_view WHERE id = 1")
    pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    assert sorted(fact_statuses(app).values()) == ["pending", "pending"]
    clock.advance(hours=2)
    pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    assert sorted(fact_statuses(app).values()) == ["notice", "pending", "withdrawn"]
    clock.advance(hours=2)
    assert pull(app.ledger, app.paths, app.prompts, app.sources, "register").new == 0


@case("sql_table", "a bad row among good ones", "set aside; the others are taken")
def test_a_bad_row_is_set_aside(app: App, register: Register) -> None:
    register.put(1, "HR", "EUR")
    register.put(2, "FR", "EUR")
    register("UPDATE facts_view SET relation = 'P0' WHERE id = 1")
    found = pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    assert (found.new, found.bad) == (1, 1)


@case("sql_table", "it must not be written to", "the connection only reads")
def test_the_connection_only_reads(app: App, register: Register) -> None:
    from factd.daemon.sources.sql_table import _connected

    settings: Any = app.sources["register"].settings
    with _connected(settings) as connection, pytest.raises(Exception, match=r"read.?only|readonly"):
        connection.execute(text("DELETE FROM facts_view"))


@case(
    "sql_table",
    "no such table, a missing column, no such database",
    "an error that says so; the cursor stays",
)
def test_what_cannot_be_read_is_an_error(app: App, register: Register, clock: Clock) -> None:
    register("ALTER TABLE facts_view RENAME COLUMN relation TO kind")
    with pytest.raises(SourceFailed, match="no column relation"):
        pull(app.ledger, app.paths, app.prompts, app.sources, "register")
    register("DROP TABLE facts_view")
    clock.advance(hours=1)
    with pytest.raises(SourceFailed):
        pull(app.ledger, app.paths, app.prompts, app.sources, "register")


def test_a_naive_time_is_meant_as_utc() -> None:
    from factd.daemon.sources.sql_table import _moment

    assert _moment("2026-11-21T12:00:00") == datetime(2026, 11, 21, 12, tzinfo=UTC)
