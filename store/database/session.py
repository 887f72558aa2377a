"""The database: SQLite (WAL, one writer at a time, no lost updates) or PostgreSQL through psycopg 3."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DatabaseError, DataError, InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from factd.store.errors import StoreError, Unstorable

PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "synchronous=FULL",
    "cache_size=-131072",  # 128 MiB: keys are hashes, so that every insert meets another page
    "wal_autocheckpoint=16000",  # pages, 64 MiB
)

PATIENCE = {  # with a PostgreSQL that does not answer; the URL's own settings come first
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 30,  # seconds
    "tcp_user_timeout": 30_000,  # milliseconds
}


def database_url(text: str) -> URL:
    """A database URL with its driver: `postgresql://` means psycopg 3."""
    url = make_url(text)
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def make_engine(url: str) -> Engine:
    """An engine for a database URL."""
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        asked = {k: v for k, v in PATIENCE.items() if k not in parsed.query}
        return create_engine(parsed, pool_pre_ping=True, connect_args=asked)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_begin(connection: Connection) -> None:
    """A writer waits for its turn before it reads anything; a reader sees what was there, and waits for nobody."""
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _on_connect(connection: Any, _: object) -> None:
    """pysqlite's own transactions lose updates without an error: switch them off and begin them ourselves."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class Store:
    """A database with its transactions."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        reader = self.engine.execution_options(reading=True)
        self._readers = sessionmaker(reader, expire_on_commit=False)

    def begin(self) -> AbstractContextManager[Session]:
        """One transaction: committed at the end, rolled back on any error.

        Raises: StoreError: the database cannot be reached (transient).
        """
        return _transaction(self._sessions)

    def read(self) -> AbstractContextManager[Session]:
        """One transaction that only reads, beside any writer. Raises: StoreError, as `begin`."""
        return _transaction(self._readers)

    def tidy(self) -> None:
        """Write SQLite's log into its database and cut it to nothing, where no reader needs it."""
        if self.engine.dialect.name != "sqlite":
            return
        with reached(), closing(self.engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()


@contextmanager
def _transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    with reached(), sessions.begin() as session:
        yield session


@contextmanager
def reached() -> Iterator[None]:
    """What a driver says when its database is away, full, read-only or broken, as one sentence.

    Raises: StoreError, Unstorable.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        failed = StoreError(
            f"the database does not answer: {error.orig}; check [store] url and try again"
        )
        failed.transient = True
        raise failed from error
    except DataError as error:
        raise Unstorable(f"the database takes no such value: {error.orig}") from error
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise
        raise StoreError(
            f"the database cannot be used: {error.orig}; restore it from a backup (`factd restore`)"
        ) from error
