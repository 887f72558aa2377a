"""Bases in the database. Every status change is a compare-and-swap with its row count."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import swapped
from factd.store.errors import NotFound
from factd.store.model.bases import BASE_MOVES, FOLDER, Base, BaseStatus
from factd.store.model.releases import Release, ReleaseStatus, check_move
from factd.store.schema.releases import BaseRow, ReleaseRow


def add_base(
    session: Session,
    release: Release,
    *,
    parent_fingerprint: str,
    who: str,
    why: str,
    now: datetime,
) -> Base:
    """The next base, in preparation, to be baked from a release. Numbers are never used again."""
    number = (session.scalar(select(func.max(BaseRow.number))) or 0) + 1
    row = BaseRow(
        number=number,
        parent=release.base,
        release=release.number,
        path=f"{FOLDER}/{number}",
        fingerprint="",
        parent_fingerprint=parent_fingerprint,
        status=BaseStatus.PREPARING,
        who=who,
        why=why,
        reason="",
        created_at=now,
        changed_at=now,
    )
    session.add(row)
    session.flush()
    return _base(row)


def move_base(
    session: Session,
    number: int,
    before: BaseStatus,
    after: BaseStatus,
    *,
    now: datetime,
    **values: Any,
) -> None:
    """Change a base's status, and what was found meanwhile (fingerprint, reason).

    Raises: IllegalMove; StaleState: it is not in `before` any more.
    """
    check_move(BASE_MOVES, before, after)
    where = (BaseRow.number == number, BaseRow.status == before)
    changes = {"status": after, "changed_at": now, **values}
    done = session.execute(update(BaseRow).where(*where).values(changes))
    swapped(done, f"base {number} is no longer {before}")


def abandon(session: Session, seen: Base, reason: str, *, now: datetime) -> None:
    """A base that will not be used. Raises: as `move_base`."""
    move_base(session, seen.number, seen.status, BaseStatus.ABANDONED, now=now, reason=reason)


def base(session: Session, number: int) -> Base:
    """One base that was baked. Raises: NotFound."""
    row = session.get(BaseRow, number, populate_existing=True)
    if row is None:
        raise NotFound(f"no base {number}; see `factd bases list`")
    return _base(row)


def list_bases(session: Session, *statuses: BaseStatus) -> list[Base]:
    """Those in some statuses, or all, the newest first."""
    query = select(BaseRow).order_by(BaseRow.number.desc())
    if statuses:
        query = query.where(BaseRow.status.in_(statuses))
    return [_base(row) for row in session.scalars(query)]


def in_effect(session: Session) -> int:
    """The number of the base that the live release was computed on; 0 where nothing is live."""
    live = ReleaseRow.status == ReleaseStatus.LIVE
    return session.scalar(select(ReleaseRow.base).where(live)) or 0


def lineage(session: Session, number: int) -> tuple[Base, ...]:
    """A base and those that it was made of, back to the original model, which is left out."""
    found: list[Base] = []
    while number:  # a parent has a lower number: this ends
        found.append(base(session, number))
        number = found[-1].parent
    return tuple(found)


def baked(session: Session, number: int) -> dict[str, int]:
    """The facts that a base holds because they were baked, each with the last base that it was baked into."""
    found: dict[str, int] = {}
    for one in reversed(lineage(session, number)):
        ids = session.scalar(select(ReleaseRow.fact_ids).where(ReleaseRow.number == one.release))
        found |= dict.fromkeys(ids or (), one.number)
    return found


def carried(session: Session, release: Release) -> frozenset[str]:
    """The facts that a release's weights hold: those of its delta, and those that its base was baked with."""
    return frozenset(release.fact_ids) | baked(session, release.base).keys()


def release_of(session: Session, number: int) -> int:
    """The release that brings out a base, with no delta on it. Raises: NotFound: it was not verified."""
    query = select(func.min(ReleaseRow.number)).where(ReleaseRow.base == number)
    found = session.scalar(query.where(ReleaseRow.candidate_id.is_(None)))
    if found is None:
        raise NotFound(f"base {number} has no release; see `factd bases list`")
    return found


def bases_of_releases(session: Session, numbers: list[int]) -> Mapping[int, int]:
    """What some releases were computed on, by their numbers."""
    query = select(ReleaseRow.number, ReleaseRow.base).where(ReleaseRow.number.in_(numbers))
    return {number: base_ for number, base_ in session.execute(query)}  # noqa: C416 - rows, no dict


def take_effect(session: Session, number: int, *, now: datetime) -> bool:
    """The base of the live release is the active one, the one that was is retired; False where nothing changes."""
    old = [one.number for one in list_bases(session, BaseStatus.ACTIVE)]
    if old == ([number] if number else []):
        return False
    for other in old:
        move_base(session, other, BaseStatus.ACTIVE, BaseStatus.RETIRED, now=now)
    if number:
        move_base(session, number, base(session, number).status, BaseStatus.ACTIVE, now=now)
    return True


def _base(row: BaseRow) -> Base:
    return Base(
        number=row.number,
        parent=row.parent,
        release=row.release,
        path=row.path,
        fingerprint=row.fingerprint,
        parent_fingerprint=row.parent_fingerprint,
        status=BaseStatus(row.status),
        who=row.who,
        why=row.why,
        reason=row.reason,
        created_at=row.created_at,
        changed_at=row.changed_at,
    )
