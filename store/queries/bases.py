"""Queries for bases. Every status change is a compare-and-swap that checks its row count."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from factd.store.database.compare_and_swap import require_one_row
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
    """Add the next base, in preparation, to be baked from a release. Numbers are never reused."""
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
    """Change the status of a base, and with it other columns (fingerprint, reason).

    Raises: IllegalMove: the table of legal moves does not have the change.
    StaleState: the status is no longer `before`.
    """
    check_move(BASE_MOVES, before, after)
    where = (BaseRow.number == number, BaseRow.status == before)
    changes = {"status": after, "changed_at": now, **values}
    result = session.execute(update(BaseRow).where(*where).values(changes))
    require_one_row(result, f"base {number} is no longer {before}")


def abandon(session: Session, seen: Base, reason: str, *, now: datetime) -> None:
    """Mark a base as abandoned: it will never be used. Raises: as `move_base`."""
    move_base(session, seen.number, seen.status, BaseStatus.ABANDONED, now=now, reason=reason)


def base(session: Session, number: int) -> Base:
    """One baked base by its number.

    Raises: NotFound: there is no such base, or the number is 0 (the original model).
    """
    row = session.get(BaseRow, number, populate_existing=True)
    if row is None:
        raise NotFound(f"no base {number}; see `factd bases list`")
    return _base(row)


def list_bases(session: Session, *statuses: BaseStatus) -> list[Base]:
    """The bases in the given statuses, or all if none is given; newest first, no limit."""
    query = select(BaseRow).order_by(BaseRow.number.desc())
    if statuses:
        query = query.where(BaseRow.status.in_(statuses))
    return [_base(row) for row in session.scalars(query)]


def in_effect(session: Session) -> int:
    """The number of the base that the live release was computed on; 0 if no release is live."""
    live = ReleaseRow.status == ReleaseStatus.LIVE
    return session.scalar(select(ReleaseRow.base).where(live)) or 0


def lineage(session: Session, number: int) -> tuple[Base, ...]:
    """A base and its parents, newest first. The original model is left out.

    Raises: NotFound: there is no such base.
    """
    bases: list[Base] = []
    while number:  # a parent has a lower number, so this ends
        bases.append(base(session, number))
        number = bases[-1].parent
    return tuple(bases)


def baked_facts(session: Session, number: int) -> dict[str, int]:
    """The ids of the facts that were baked into a base or its parents.

    Each id is mapped to the last base that the fact was baked into. Raises: NotFound: there is
    no such base.
    """
    base_by_id: dict[str, int] = {}
    for one in reversed(lineage(session, number)):
        ids = session.scalar(select(ReleaseRow.fact_ids).where(ReleaseRow.number == one.release))
        base_by_id |= dict.fromkeys(ids or (), one.number)
    return base_by_id


def facts_in_weights(session: Session, release: Release) -> frozenset[str]:
    """The ids of the facts in a release's weights: in its delta or baked into its base.

    Raises: NotFound: the release's base does not exist.
    """
    return frozenset(release.fact_ids) | baked_facts(session, release.base).keys()


def release_of_base(session: Session, number: int) -> int:
    """The number of the release that publishes a base alone, without a delta.

    Raises: NotFound: the base was not verified, so it has no release.
    """
    query = select(func.min(ReleaseRow.number)).where(ReleaseRow.base == number)
    release = session.scalar(query.where(ReleaseRow.candidate_id.is_(None)))
    if release is None:
        raise NotFound(f"base {number} has no release; see `factd bases list`")
    return release


def base_of_releases(session: Session, numbers: list[int]) -> Mapping[int, int]:
    """The base of each given release: release number -> base number. Unknown ones are missing."""
    query = select(ReleaseRow.number, ReleaseRow.base).where(ReleaseRow.number.in_(numbers))
    return {number: base_ for number, base_ in session.execute(query)}  # noqa: C416 - rows, no dict


def activate(session: Session, number: int, *, now: datetime) -> bool:
    """Make the base of the live release the active one and retire the one before.

    Returns False if the base is active already. Raises: NotFound, IllegalMove, StaleState.
    """
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
