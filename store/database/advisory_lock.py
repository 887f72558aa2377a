"""PostgreSQL's advisory locks: freed within milliseconds when their process dies, so that nobody waits out a lease.

Each sits on a connection of its own that no pool takes back (a pooled one would stay locked). Other databases have none.
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
    """A lock of a name in one database."""

    def __init__(self, url: str, name: str) -> None:
        parsed = database_url(url)
        self.there_is_one = parsed.get_backend_name() == "postgresql"
        self.key = zlib.crc32(f"factd {name}".encode())
        self.connection: Connection | None = None
        self.owned = False
        options: dict[str, Any] = {"connect_args": {"connect_timeout": CONNECT_SECONDS}}
        self.engine = (
            create_engine(parsed, poolclass=NullPool, isolation_level="AUTOCOMMIT", **options)
            if self.there_is_one
            else None
        )

    def held(self) -> bool:
        """This process has it, or can have it now; where there are no such locks, False."""
        if self.engine is None:
            return False
        try:
            self.connection = self.connection or self.engine.connect()
            if self.owned:
                self.connection.execute(text("SELECT 1"))
            else:
                query = text("SELECT pg_try_advisory_lock(:key)")
                self.owned = bool(self.connection.scalar(query, {"key": self.key}))
        except SQLAlchemyError:  # the connection is gone, and with it the lock
            self.release()
        return self.owned

    def release(self) -> None:
        """Give it back: its connection ends."""
        connection, self.connection, self.owned = self.connection, None, False
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()
