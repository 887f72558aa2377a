"""Leases: rights that only one process may hold at a time.

Each time a lease changes hands its epoch rises, and a process with an older epoch is refused from
then on. Nothing here compares times, because the clocks of hosts differ and jump. A process that
waits for a lease watches whether its `turns` still rise (see daemon/leases.py).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import row_count
from factd.store.errors import Overtaken
from factd.store.model.operations import Lease
from factd.store.schema.operations import LeaseRow

CLOCK, WRITER, SERVERS = "clock", "writer", "servers"


def lease(session: Session, name: str, *, now: datetime) -> Lease:
    """The present state of a lease. A missing lease is added: epoch 0, held by nobody."""
    row = session.get(LeaseRow, name, populate_existing=True)
    if row is None:
        try:
            with session.begin_nested():
                session.add(LeaseRow(name=name, holder="", epoch=0, turns=0, at=now))
        except IntegrityError:  # another process has added it at the same moment
            session.expire_all()
        row = session.get_one(LeaseRow, name, populate_existing=True)
    return Lease(name=row.name, holder=row.holder, epoch=row.epoch, turns=row.turns)


def take(session: Session, seen: Lease, holder: str, *, now: datetime) -> Lease:
    """Take a lease for a new holder; returns the lease with its new epoch.

    Raises: Overtaken: the lease was renewed or taken since it was read.
    """
    where = (LeaseRow.epoch == seen.epoch, LeaseRow.turns == seen.turns)
    taken = Lease(name=seen.name, holder=holder, epoch=seen.epoch + 1, turns=seen.turns + 1)
    _change(session, seen, where, {"holder": holder, "epoch": taken.epoch}, now)
    return taken


def renew(session: Session, held: Lease, *, now: datetime) -> None:
    """Show that the holder is alive. Raises: Overtaken: another process has taken the lease."""
    _change(session, held, (LeaseRow.epoch == held.epoch,), {}, now)


def give_back(session: Session, held: Lease, *, now: datetime) -> None:
    """Free a lease, so that any process can take it at once. Raises: Overtaken: as `renew`."""
    _change(session, held, (LeaseRow.epoch == held.epoch,), {"holder": ""}, now)


def confirm(session: Session, held: Lease) -> None:
    """Lock the lease's row until this transaction ends, so that no process takes it over meanwhile.

    Raises: Overtaken: another process has taken the lease.
    """
    query = select(LeaseRow.epoch).where(LeaseRow.name == held.name).with_for_update()
    if session.scalar(query) != held.epoch:
        raise _overtaken(held)


def _change(
    session: Session, seen: Lease, where: Any, values: dict[str, Any], now: datetime
) -> None:
    values = {**values, "turns": LeaseRow.turns + 1, "at": now}
    query = update(LeaseRow).where(LeaseRow.name == seen.name, *where).values(values)
    if row_count(session.execute(query)) != 1:
        raise _overtaken(seen)


def _overtaken(held: Lease) -> Overtaken:
    return Overtaken(
        f"another process has taken over the {held.name} lease; "
        "this process stops and changes nothing more"
    )
