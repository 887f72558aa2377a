"""The ledger: facts and releases in the database, the clock, and the one way to change releases."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from factd.daemon import leases
from factd.daemon.errors import Refused
from factd.store import queries
from factd.store.catalogue.catalogue import Catalogue
from factd.store.database.session import Store
from factd.store.queries.resolution import ConflictResolver


@dataclass(frozen=True, kw_only=True)
class Ledger:
    """The store, the clock, the rules that resolve conflicts, and the writer's lease."""

    store: Store
    now: Callable[[], datetime]  # timezone-aware
    resolver: ConflictResolver  # which of several claims holds
    lease_seconds: float  # how long a lease lives without a sign of life
    writer: leases.HeldLease | None = None  # held by the process that changes releases

    @property
    def catalogue(self) -> Catalogue:
        """The relation catalogue."""
        return self.resolver.catalogue

    def begin(self) -> AbstractContextManager[Session]:
        """A transaction that may write. It commits at the end of the block."""
        return self.store.begin()

    def read(self) -> AbstractContextManager[Session]:
        """A transaction that only reads."""
        return self.store.read()

    @contextmanager
    def changing(self) -> Iterator[Session]:
        """A transaction that changes candidates or releases.

        Raises: Overtaken: another process has taken over the writer's lease.
        """
        with self.store.begin() as session:
            if self.writer is not None:
                self.writer.confirm(session)
            yield session

    def refuse_if_frozen(self) -> None:
        """Raises: Refused: an operator froze factd."""
        with self.store.read() as session:
            flag = queries.releases.frozen(session)
        if flag:
            since = f"{flag.since:%Y-%m-%d %H:%M}"
            raise Refused(
                f"frozen by {flag.who} since {since}: {flag.why}; lift it with `factd unfreeze`"
            )

    @property
    def epoch(self) -> int | None:
        """The epoch of the writer's lease. It keeps earlier writers out of the published folder."""
        return self.writer.epoch if self.writer else None

    def lease(self, name: str, *, seize: bool = False) -> leases.HeldLease:
        """Take a lease. seize: take it also from a holder that is alive. Raises: Busy."""
        return leases.take_lease(self.store, name, self.lease_seconds, self.now, seize=seize)
