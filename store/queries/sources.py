"""Where each source stands: its cursor, what it has been seen to say, pointers and deliveries that wait for it."""

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
from factd.store.schema.facts import Base, DeliveryRow, PointerRow, SeenRow, SourceDayRow, SourceRow

PARAMETERS = 400
USUAL_DAYS = 28  # over which the usual number of claims is taken
LEAST_DAYS = 3  # with fewer no number is usual


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A webhook's body that waits."""

    id: int
    key: str
    body: bytes
    received_at: datetime


def upsert(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or replace the values of those whose primary key is there."""
    if not rows:
        return
    made = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    statement = made.insert(table)
    keys = [column.name for column in table.__table__.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), rows)


def source_state(session: Session, name: str) -> SourceState:
    """Where a source stands; the beginning where it never was asked."""
    row = session.get(SourceRow, name, populate_existing=True)
    return _state(row) if row else SourceState(name=name)


def source_states(session: Session) -> list[SourceState]:
    """All sources that were ever asked, by name."""
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
    """Change some of what is kept about a source."""
    if session.get(SourceRow, name) is None:
        session.add(SourceRow(name=name, cursor={}, failures=0, error="", frozen=""))
        session.flush()
    session.execute(update(SourceRow).where(SourceRow.name == name).values(values))


def frozen_sources(session: Session) -> dict[str, str]:
    """Why, by the name of each source that is frozen."""
    query = select(SourceRow.name, SourceRow.frozen).where(SourceRow.frozen != "")
    return {name: why for name, why in session.execute(query)}  # noqa: C416 - rows, no dict


def count_claims(session: Session, name: str, day: date, claims: int) -> None:
    """Add to a source's number of claims of a day."""
    if not claims:
        return
    row = session.get(SourceDayRow, (name, day), populate_existing=True)
    if row is None:
        session.add(SourceDayRow(source=name, day=day, claims=claims))
    else:
        row.claims += claims
    session.flush()


def claims_on(session: Session, name: str, day: date) -> int:
    """A source's number of claims of a day."""
    row = session.get(SourceDayRow, (name, day), populate_existing=True)
    return row.claims if row else 0


def forget_usual(session: Session, name: str) -> None:
    """An operator found a source's many claims good: what it claimed so far is forgotten, and no day is usual any more."""
    session.execute(delete(SourceDayRow).where(SourceDayRow.source == name))


def usual_claims(session: Session, name: str, day: date) -> float | None:
    """The median number of claims of the days before on which it claimed anything; None where there are too few."""
    first = day - timedelta(days=USUAL_DAYS)
    where = (SourceDayRow.source == name, SourceDayRow.day < day, SourceDayRow.day >= first)
    found = list(session.scalars(select(SourceDayRow.claims).where(*where)))
    return float(median(found)) if len(found) >= LEAST_DAYS else None


def seen(session: Session, source: str, keys: Iterable[str]) -> dict[str, str]:
    """The state in which a source's items were taken last, by key."""
    found: dict[str, str] = {}
    for part in chunks(sorted(set(keys)), PARAMETERS):
        query = select(SeenRow.key, SeenRow.value).where(
            SeenRow.source == source, SeenRow.key.in_(part)
        )
        found |= {key: value for key, value in session.execute(query)}  # noqa: C416 - rows, no dict
    return found


def seen_all(session: Session, source: str, prefix: str) -> dict[str, str]:
    """Every item of a source whose key has a prefix, as it was taken last."""
    where = (SeenRow.source == source, SeenRow.key.startswith(prefix, autoescape=True))
    rows = session.execute(select(SeenRow.key, SeenRow.value).where(*where))
    return {key: value for key, value in rows}  # noqa: C416 - rows, no dict


def note_seen(session: Session, source: str, items: Mapping[str, str], *, now: datetime) -> None:
    """These items were taken in these states."""
    rows = [{"source": source, "key": k, "value": v, "at": now} for k, v in sorted(items.items())]
    upsert(session, SeenRow, rows)


def forget_old(session: Session, *, before: datetime) -> None:
    """Drop what only guards against repeats: ids of events, feed entries and taken deliveries that are too old to come again."""
    for prefix in ("event:", "entry:"):
        session.execute(delete(SeenRow).where(SeenRow.at < before, SeenRow.key.startswith(prefix)))
    where = (DeliveryRow.body.is_(None), DeliveryRow.received_at < before)
    session.execute(delete(DeliveryRow).where(*where))


def add_pointers(session: Session, source: str, keys: Iterable[str], *, now: datetime) -> None:
    """Ask a source to look at some items."""
    upsert(
        session, PointerRow, [{"source": source, "key": k, "at": now} for k in sorted(set(keys))]
    )


def pointers(session: Session, source: str, *, limit: int) -> list[str]:
    """Items that a source is to look at, the oldest first."""
    query = select(PointerRow.key).where(PointerRow.source == source)
    return list(session.scalars(query.order_by(PointerRow.at, PointerRow.key).limit(limit)))


def drop_pointers(session: Session, source: str, keys: Iterable[str], *, until: datetime) -> None:
    """It has looked at these; what was pointed at again after `until` stays."""
    for part in chunks(keys, PARAMETERS):
        where = (PointerRow.source == source, PointerRow.key.in_(part), PointerRow.at <= until)
        session.execute(delete(PointerRow).where(*where))


def add_delivery(session: Session, source: str, key: str, body: bytes, *, now: datetime) -> bool:
    """Keep a webhook's body; False where its id came before."""
    try:
        with session.begin_nested():
            session.add(DeliveryRow(source=source, key=key, body=body, received_at=now))
    except IntegrityError:
        return False
    return True


def deliveries(session: Session, source: str, *, after: int, limit: int) -> list[Delivery]:
    """Bodies that wait, in the order of their arrival."""
    where = (DeliveryRow.source == source, DeliveryRow.id > after, DeliveryRow.body.is_not(None))
    rows = session.scalars(select(DeliveryRow).where(*where).order_by(DeliveryRow.id).limit(limit))
    return [
        Delivery(id=row.id, key=row.key, body=row.body or b"", received_at=row.received_at)
        for row in rows
    ]


def take_deliveries(session: Session, ids: Sequence[int]) -> None:
    """Their claims are stored: the bodies go, the ids stay against repeats."""
    session.execute(update(DeliveryRow).where(DeliveryRow.id.in_(ids)).values(body=None))
