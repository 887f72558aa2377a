"""The writer's lease: one process changes releases at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from factd.daemon.artefacts.versions import Versions
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.publishing import publish
from factd.store import operations


@contextmanager
def writing(
    ledger: Ledger, paths: Paths, versions: Versions, fleet: Fleet, *, seize: bool = False
) -> Iterator[Ledger]:
    """The ledger with the writer's lease, until the end of the block.

    First the half-done work of an earlier writer is finished or abandoned. seize: take the lease
    over from a writer that is alive, whose work is then abandoned (a rollback does not wait). A
    ledger that already has the lease is returned unchanged. Raises: Busy.
    """
    if ledger.writer is not None:
        yield ledger
        return
    held = ledger.lease(operations.leases.WRITER, seize=seize)
    try:
        own = replace(ledger, writer=held)
        publish.recover(own, paths, versions, fleet)
        yield own
    finally:
        held.give_back()
