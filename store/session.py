"""The database: SQLite (WAL, one writer at a time, no lost updates) or PostgreSQL through psycopg 3."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, sessionmaker

from store.errors import StoreError

PRAGMAS = (
    "journal_mode=WAL",
    "foreign_keys=ON",
    "busy_timeout=10000",
    "synchronous=FULL",
    "cache_size=-131072",  # 128 MiB: keys are hashes, so that every insert meets another page
    "wal_autocheckpoint=16000",  # pages, 64 MiB
)


def make_engine(url: str) -> Engine:
    """An engine for a database URL; `postgresql://` means psycopg 3."""
    parsed = make_url(url)
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True)
    if parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return engine


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

    @contextmanager
    def begin(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back on any error.

        Raises: StoreError: the database cannot be reached (transient).
        """
        try:
            with self._sessions.begin() as session:
                yield session
        except OperationalError as error:
            failed = StoreError(
                f"the database does not answer: {error.orig}; check [store] url and try again"
            )
            failed.transient = True
            raise failed from error

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()
