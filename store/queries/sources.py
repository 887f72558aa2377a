"""Queries for sources: their cursors, the items they have read, waiting pointers and deliveries."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.model.sources import SourceState
from factd.store.schema.facts import (
    DeliveryRow,
    PointerRow,
    RowBase,
    SeenRow,
    SourceDayRow,
    SourceRow,
)

PARAMETERS = 400  # keys in one IN list
USUAL_DAYS = 28  # the usual number of claims is the median of these days
LEAST_DAYS = 3  # with fewer days there is no usual number


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook's body whose claims are not stored yet."""

    id: int
    key: str
    body: bytes
    received_at: datetime


def upsert(session: Session, table: type[RowBase], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows; a row whose primary key exists replaces the old values."""
    if not rows:
        return
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    keys = [column.name for column in table.__table__.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), rows)


def source_state(session: Session, name: str) -> SourceState:
    """The state of a source; an empty state if it was never pulled."""
    row = session.get(SourceRow, name, populate_existing=True)
    return _state(row) if row else SourceState(name=name)


def source_states(session: Session) -> list[SourceState]:
    """The states of all sources that were ever pulled, by name; no limit."""
    return [_state(row) for row in session.scalars(select(SourceRow).order_by(SourceRow.name))]


def _state(row: SourceRow) -> SourceState:
    return SourceState(
        name=row.name,
        cursor=row.cursor,
        pulled_at=row.pulled_at,
        succeeded_at=row.succeeded_at,
        not_before=row.not_before,
        failures=row.failures,
        error=row.error,
        frozen=row.frozen,
    )


def save_state(session: Session, name: str, **values: Any) -> None:
    """Change some columns of a source's state. The row is added if it is missing."""
    if session.get(SourceRow, name) is None:
        session.add(SourceRow(name=name, cursor={}, failures=0, error="", frozen=""))
        session.flush()
    session.execute(update(SourceRow).where(SourceRow.name == name).values(values))


def frozen_sources(session: Session) -> dict[str, str]:
    """The reason for which each frozen source is frozen, by source name."""
    query = select(SourceRow.name, SourceRow.frozen).where(SourceRow.frozen != "")
    return {name: why for name, why in session.execute(query)}  # noqa: C416 - rows, no dict


def count_claims(session: Session, name: str, day: date, claims: int) -> None:
    """Add to the number of claims that a source made on a day."""
    if not claims:
        return
    row = session.get(SourceDayRow, (name, day), populate_existing=True)
    if row is None:
        session.add(SourceDayRow(source=name, day=day, claims=claims))
    else:
        row.claims += claims
    session.flush()


def claims_on(session: Session, name: str, day: date) -> int:
    """The number of claims that a source made on a day."""
    row = session.get(SourceDayRow, (name, day), populate_existing=True)
    return row.claims if row else 0


def forget_usual_claims(session: Session, name: str) -> None:
    """Delete a source's daily numbers of claims, so that no number is usual any more.

    Called when an operator has found a source's unusually many claims good.
    """
    session.execute(delete(SourceDayRow).where(SourceDayRow.source == name))


def usual_claims(session: Session, name: str, day: date) -> float | None:
    """The median number of claims on the days with claims, in the USUAL_DAYS before a day.

    None if there were fewer than LEAST_DAYS such days.
    """
    first = day - timedelta(days=USUAL_DAYS)
    where = (SourceDayRow.source == name, SourceDayRow.day < day, SourceDayRow.day >= first)
    claims = list(session.scalars(select(SourceDayRow.claims).where(*where)))
    return float(median(claims)) if len(claims) >= LEAST_DAYS else None


def seen_items(session: Session, source: str, keys: Iterable[str]) -> dict[str, str]:
    """The state in which a source last read each item, by key; items never read are missing."""
    items: dict[str, str] = {}
    for part in chunks(sorted(set(keys)), PARAMETERS):
        query = select(SeenRow.key, SeenRow.value).where(
            SeenRow.source == source, SeenRow.key.in_(part)
        )
        items |= {key: value for key, value in session.execute(query)}  # noqa: C416 - rows, no dict
    return items


def seen_with_prefix(session: Session, source: str, prefix: str) -> dict[str, str]:
    """The state in which a source last read each item whose key has a prefix, by key; no limit."""
    where = (SeenRow.source == source, SeenRow.key.startswith(prefix, autoescape=True))
    rows = session.execute(select(SeenRow.key, SeenRow.value).where(*where))
    return {key: value for key, value in rows}  # noqa: C416 - rows, no dict


def mark_seen(session: Session, source: str, items: Mapping[str, str], *, now: datetime) -> None:
    """Record that a source has read some items. items: key -> state."""
    rows = [{"source": source, "key": k, "value": v, "at": now} for k, v in sorted(items.items())]
    upsert(session, SeenRow, rows)


def delete_old_keys(session: Session, *, before: datetime) -> None:
    """Delete the ids of events, feed entries and stored deliveries from before a time.

    They only guard against repeats, and items that old do not come again.
    """
    for prefix in ("event:", "entry:"):
        session.execute(delete(SeenRow).where(SeenRow.at < before, SeenRow.key.startswith(prefix)))
    where = (DeliveryRow.body.is_(None), DeliveryRow.received_at < before)
    session.execute(delete(DeliveryRow).where(*where))


def add_pointers(session: Session, source: str, keys: Iterable[str], *, now: datetime) -> None:
    """Ask a source to read some items."""
    upsert(
        session, PointerRow, [{"source": source, "key": k, "at": now} for k in sorted(set(keys))]
    )


def pointers(session: Session, source: str, *, limit: int) -> list[str]:
    """The keys of the items that a source is asked to read, oldest first; at most `limit`."""
    query = select(PointerRow.key).where(PointerRow.source == source)
    return list(session.scalars(query.order_by(PointerRow.at, PointerRow.key).limit(limit)))


def delete_pointers(session: Session, source: str, keys: Iterable[str], *, until: datetime) -> None:
    """Delete pointers to items that a source has read.

    A pointer that was added again after `until` stays.
    """
    for part in chunks(keys, PARAMETERS):
        where = (PointerRow.source == source, PointerRow.key.in_(part), PointerRow.at <= until)
        session.execute(delete(PointerRow).where(*where))


def add_delivery(session: Session, source: str, key: str, body: bytes, *, now: datetime) -> bool:
    """Store a webhook's body. Returns False if a delivery with this key came before."""
    try:
        with session.begin_nested():
            session.add(DeliveryRow(source=source, key=key, body=body, received_at=now))
    except IntegrityError:
        return False
    return True


def deliveries(session: Session, source: str, *, after: int, limit: int) -> list[Delivery]:
    """The deliveries that are not stored yet, in the order of their arrival; at most `limit`.

    after: only deliveries with a higher id.
    """
    where = (DeliveryRow.source == source, DeliveryRow.id > after, DeliveryRow.body.is_not(None))
    rows = session.scalars(select(DeliveryRow).where(*where).order_by(DeliveryRow.id).limit(limit))
    return [
        Delivery(id=row.id, key=row.key, body=row.body or b"", received_at=row.received_at)
        for row in rows
    ]


def clear_delivery_bodies(session: Session, ids: Sequence[int]) -> None:
    """Delete the bodies of deliveries whose claims are stored. Their keys reveal repeats."""
    session.execute(update(DeliveryRow).where(DeliveryRow.id.in_(ids)).values(body=None))
