"""PostgreSQL's advisory locks.

PostgreSQL frees such a lock within milliseconds when its process dies, so no other process has to
wait until a lease runs out. Each lock has a connection of its own outside any pool: a connection
returned to a pool would keep its lock. Other databases have no advisory locks.
"""

import zlib
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from factd.store.database.session import database_url

CONNECT_SECONDS = 5


class AdvisoryLock:
    """A named lock in one database."""

    def __init__(self, url: str, name: str) -> None:
        parsed = database_url(url)
        self.is_supported = parsed.get_backend_name() == "postgresql"
        self.key = zlib.crc32(f"factd {name}".encode())
        self.connection: Connection | None = None
        self.owned = False
        options: dict[str, Any] = {"connect_args": {"connect_timeout": CONNECT_SECONDS}}
        self.engine = (
            create_engine(parsed, poolclass=NullPool, isolation_level="AUTOCOMMIT", **options)
            if self.is_supported
            else None
        )

    def acquire(self) -> bool:
        """Take the lock if it is free. True: this process holds it. False with other databases."""
        if self.engine is None:
            return False
        try:
            self.connection = self.connection or self.engine.connect()
            if self.owned:
                self.connection.execute(text("SELECT 1"))
            else:
                query = text("SELECT pg_try_advisory_lock(:key)")
                self.owned = bool(self.connection.scalar(query, {"key": self.key}))
        except SQLAlchemyError:  # the connection is lost, and the lock with it
            self.release()
        return self.owned

    def release(self) -> None:
        """Free the lock by closing its connection."""
        connection, self.connection, self.owned = self.connection, None, False
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()
