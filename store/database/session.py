"""Engines and transactions: SQLite (WAL, one writer at a time, no lost updates) or PostgreSQL.

PostgreSQL is used through psycopg 3.
"""

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
    "cache_size=-131072",  # 128 MiB: keys are hashes, so every insert touches another page
    "wal_autocheckpoint=16000",  # pages, 64 MiB
)

CONNECT_OPTIONS = {  # for a PostgreSQL that does not answer; settings in the URL override these
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 30,  # seconds
    "tcp_user_timeout": 30_000,  # milliseconds
}


def database_url(text: str) -> URL:
    """A parsed database URL; `postgresql://` gets the driver psycopg 3."""
    url = make_url(text)
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def make_engine(url: str) -> Engine:
    """An engine for a database URL. For SQLite the folder of the file is made."""
    parsed = database_url(url)
    if parsed.get_backend_name() != "sqlite":
        options = {k: v for k, v in CONNECT_OPTIONS.items() if k not in parsed.query}
        return create_engine(parsed, pool_pre_ping=True, connect_args=options)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_begin(connection: Connection) -> None:
    """Begin SQLite's transaction by hand.

    A writer takes the write lock before it reads anything, so it never acts on stale rows. A
    reader sees the last committed state and waits for nobody.
    """
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


def _on_connect(connection: Any, _: object) -> None:
    """Switch off pysqlite's own transactions, which lose updates without an error."""
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


class Store:
    """A database and its transactions."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        reader = self.engine.execution_options(reading=True)
        self._readers = sessionmaker(reader, expire_on_commit=False)

    def begin(self) -> AbstractContextManager[Session]:
        """One transaction for writing: committed at the end, rolled back on any error.

        Raises: StoreError: the database does not answer (transient) or cannot be used.
        Unstorable: the database cannot store a value.
        """
        return _transaction(self._sessions)

    def read(self) -> AbstractContextManager[Session]:
        """One transaction that only reads and does not wait for a writer. Raises: as `begin`."""
        return _transaction(self._readers)

    def truncate_wal(self) -> None:
        """Write SQLite's write-ahead log into the database file and empty the log.

        A log that a reader still needs stays.

        Does nothing with PostgreSQL. Raises: StoreError.
        """
        if self.engine.dialect.name != "sqlite":
            return
        with database_errors(), closing(self.engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


@contextmanager
def _transaction(sessions: sessionmaker[Session]) -> Iterator[Session]:
    with database_errors(), sessions.begin() as session:
        yield session


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn the driver's errors into one sentence for the operator.

    The driver raises them if the database is unreachable, full, read-only or damaged.
    Raises: StoreError: the database does not answer (transient) or cannot be used.
    Unstorable: the database cannot store a value.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        unreachable = StoreError(
            f"the database does not answer: {error.orig}; check [store] url and try again"
        )
        unreachable.transient = True
        raise unreachable from error
    except DataError as error:
        raise Unstorable(f"the database cannot store this value: {error.orig}") from error
    except DatabaseError as error:
        if type(error) is not DatabaseError:
            raise
        raise StoreError(
            f"the database cannot be used: {error.orig}; restore it from a backup (`factd restore`)"
        ) from error
