"""Leases in the database. Each change of hands raises the epoch; who holds an older one is refused from then on.

Nothing here looks at a clock: clocks of hosts differ and jump. Who waits for a lease watches its `turns` (daemon/leases.py).
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import changed
from factd.store.errors import Overtaken
from factd.store.model.operations import Lease
from factd.store.schema.operations import LeaseRow

CLOCK, WRITER, SERVERS = "clock", "writer", "servers"


def lease(session: Session, name: str, *, now: datetime) -> Lease:
    """A lease as it stands; nobody's, at epoch 0, where there was none."""
    row = session.get(LeaseRow, name, populate_existing=True)
    if row is None:
        try:
            with session.begin_nested():
                session.add(LeaseRow(name=name, holder="", epoch=0, turns=0, at=now))
        except IntegrityError:  # somebody else made it in this moment
            session.expire_all()
        row = session.get_one(LeaseRow, name, populate_existing=True)
    return Lease(name=row.name, holder=row.holder, epoch=row.epoch, turns=row.turns)


def take(session: Session, seen: Lease, holder: str, *, now: datetime) -> Lease:
    """The lease for a new holder. Raises: Overtaken: it is no longer as it was seen."""
    where = (LeaseRow.epoch == seen.epoch, LeaseRow.turns == seen.turns)
    found = Lease(name=seen.name, holder=holder, epoch=seen.epoch + 1, turns=seen.turns + 1)
    _changed(session, seen, where, {"holder": holder, "epoch": found.epoch}, now)
    return found


def renew(session: Session, held: Lease, *, now: datetime) -> None:
    """A sign of life. Raises: Overtaken."""
    _changed(session, held, (LeaseRow.epoch == held.epoch,), {}, now)


def give_back(session: Session, held: Lease, *, now: datetime) -> None:
    """Free for anybody at once. Raises: Overtaken."""
    _changed(session, held, (LeaseRow.epoch == held.epoch,), {"holder": ""}, now)


def confirm(session: Session, held: Lease) -> None:
    """Hold the lease's row until this transaction ends: nobody takes over meanwhile. Raises: Overtaken."""
    query = select(LeaseRow.epoch).where(LeaseRow.name == held.name).with_for_update()
    if session.scalar(query) != held.epoch:
        raise _overtaken(held)


def _changed(
    session: Session, seen: Lease, where: Any, values: dict[str, Any], now: datetime
) -> None:
    values = {**values, "turns": LeaseRow.turns + 1, "at": now}
    query = update(LeaseRow).where(LeaseRow.name == seen.name, *where).values(values)
    done = session.execute(query)
    if changed(done) != 1:
        raise _overtaken(seen)


def _overtaken(held: Lease) -> Overtaken:
    return Overtaken(
        f"somebody else has taken over the {held.name} lease; this process ends its work and changes nothing more"
    )
