"""Facts in the database: ingest, history, withdrawal, and the set that the next release holds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import func, insert, select, tuple_, update
from sqlalchemy.orm import Session

from store.catalogue import Catalogue
from store.errors import NotFound
from store.facts import CURRENT, WRITTEN, Entity, Fact, FactStatus, FactUpdate, standings
from store.schema import AuditRow, BadLineRow, FactRow
from store.updates import BadLine, Line

T = TypeVar("T")
CHUNK = 1000  # lines looked up at once
PARAMETERS = 400  # pairs in one IN list


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What became of a source's lines."""

    lines: int
    new: int
    unchanged: int
    pending: int  # of the new ones, those that wait to be written
    bad: tuple[BadLine, ...]  # set aside, conflicts included


def ingest(
    session: Session,
    lines: Iterable[Line | BadLine],
    catalogue: Catalogue,
    *,
    file: str,
    now: datetime,
    known: bool = False,
) -> IngestReport:
    """Store what a source says. The same lines again change nothing; a bad line is set aside and loses no good one.

    known: the base model holds these facts; they are never written, only kept and measured.
    """
    count = new = 0
    bad: list[BadLine] = []
    numbers: dict[str, int] = {}
    for chunk in _chunks(lines, CHUNK):
        count += len(chunk)
        bad += [line for line in chunk if isinstance(line, BadLine)]
        good = {line.update.id: line for line in chunk if isinstance(line, Line)}
        there = set(session.scalars(select(FactRow.id).where(FactRow.id.in_(good))))
        fresh = [line for id_, line in good.items() if id_ not in there]
        numbers |= {line.update.id: line.number for line in fresh}
        new += len(fresh)
        if fresh:
            session.execute(
                insert(FactRow), [_row(line.update, now=now, known=known) for line in fresh]
            )
        settle(
            session, {(x.update.subject.id, x.update.relation) for x in fresh}, catalogue, now=now
        )
    added = [
        f for part in _chunks(sorted(numbers), CHUNK) for f in _facts(session, FactRow.id.in_(part))
    ]
    for fact in added:
        if fact.status is FactStatus.CONFLICTING:
            line = BadLine(
                number=numbers[fact.id], reason=f"conflict: {fact.reason}", excerpt=fact.id
            )
            bad.append(line)
    session.add_all(
        BadLineRow(file=file, number=b.number, reason=b.reason, excerpt=b.excerpt, at=now)
        for b in bad
    )
    pending = sum(fact.status is FactStatus.PENDING for fact in added)
    malformed = sum(not line.reason.startswith("conflict: ") for line in bad)
    ordered = tuple(sorted(bad, key=lambda line: line.number))
    return IngestReport(
        lines=count, new=new, unchanged=count - malformed - new, pending=pending, bad=ordered
    )


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _row(update_: FactUpdate, *, now: datetime, known: bool) -> dict[str, Any]:
    data = update_.as_json()
    return {
        "id": update_.id,
        "source": update_.source,
        "revision": update_.revision,
        "event_time": update_.event_time,
        "observed_at": now,
        "subject_id": update_.subject.id,
        "subject": data["subject"],
        "relation": update_.relation,
        "object_id": update_.object.id,
        "object": data["object"],
        "valid_from": update_.valid_from,
        "valid_to": update_.valid_to,
        "known": known,
        "status": FactStatus.SUPERSEDED,  # settle decides in the same transaction
        "reason": "",
        "changed_at": now,
    }


def settle(
    session: Session, pairs: Iterable[tuple[str, str]], catalogue: Catalogue, *, now: datetime
) -> int:
    """Give every version of some subjects and relations the status it has among the others; the number of changes."""
    changed = 0
    for part in _chunks(sorted(pairs), PARAMETERS):
        wanted = tuple_(FactRow.subject_id, FactRow.relation).in_(part)
        versions: dict[tuple[str, str], list[Fact]] = {}
        for fact in _facts(session, wanted):
            versions.setdefault((fact.subject.id, fact.relation), []).append(fact)
        for (_, relation), facts in versions.items():
            changed += _apply(session, facts, many=catalogue[relation].many, now=now)
    return changed


def _apply(session: Session, facts: Sequence[Fact], *, many: bool, now: datetime) -> int:
    found = standings(facts, now.date(), many=many)
    changed = [f for f in facts if (f.status, f.reason) != (found[f.id].status, found[f.id].reason)]
    for fact in changed:
        after = {
            "status": found[fact.id].status,
            "reason": found[fact.id].reason,
            "changed_at": now,
        }
        session.execute(update(FactRow).where(FactRow.id == fact.id).values(after))
    return len(changed)


def settle_all(session: Session, catalogue: Catalogue, *, now: datetime) -> int:
    """Let time pass: what becomes valid or expires by now. The number of changes."""
    day = now.date()
    due = select(FactRow.subject_id, FactRow.relation).where(
        ((FactRow.status == FactStatus.FUTURE) & (FactRow.valid_from <= day))
        | (FactRow.status.in_(CURRENT) & (FactRow.valid_to <= day))
    )
    pairs = {(subject, relation) for subject, relation in session.execute(due)}
    return settle(session, pairs, catalogue, now=now)


def _entity(data: dict[str, Any]) -> Entity:
    aliases = {k: tuple(v) for k, v in data["aliases"].items()}
    return Entity(id=data["id"], labels=data["labels"], aliases=aliases)


def _fact(row: FactRow) -> Fact:
    said = FactUpdate(
        source=row.source,
        revision=row.revision,
        event_time=row.event_time,
        subject=_entity(row.subject),
        relation=row.relation,
        object=_entity(row.object),
        valid_from=row.valid_from,
        valid_to=row.valid_to,
    )
    return Fact(
        id=row.id,
        update=said,
        status=FactStatus(row.status),
        observed_at=row.observed_at,
        known=row.known,
        reason=row.reason,
    )


def _facts(session: Session, *where: Any, limit: int | None = None) -> list[Fact]:
    query = select(FactRow).where(*where).order_by(FactRow.id).limit(limit)
    rows = session.scalars(query.execution_options(populate_existing=True))
    return [_fact(row) for row in rows]


def list_facts(
    session: Session,
    *,
    status: Sequence[FactStatus] = (),
    relation: str | None = None,
    subject: str | None = None,
    limit: int | None = None,
) -> list[Fact]:
    """Fact versions by id."""
    where: list[Any] = [FactRow.status.in_(status)] if status else []
    where += [FactRow.relation == relation] if relation else []
    where += [FactRow.subject_id == subject] if subject else []
    return _facts(session, *where, limit=limit)


def get_fact(session: Session, id_: str) -> Fact:
    """One version by its id or the unique start of it. Raises: NotFound."""
    found = _facts(session, FactRow.id.startswith(id_, autoescape=True), limit=2)
    if len(found) != 1:
        raise NotFound(
            f"{'several facts' if found else 'no fact'} with id {id_!r}; see `factd facts list`"
        )
    return found[0]


def history(session: Session, subject: str, relation: str) -> list[Fact]:
    """All versions of one subject and relation, the newest in the world first."""
    found = list_facts(session, subject=subject, relation=relation)
    return sorted(
        found, key=lambda f: (f.update.valid_from or date.min, f.update.event_time), reverse=True
    )


def candidate_set(session: Session) -> list[Fact]:
    """The facts that the next release holds: all that are current and not the base model's own, by id."""
    return list_facts(session, status=WRITTEN)


def previous(session: Session, facts: Sequence[Fact]) -> dict[str, Fact]:
    """What the base model says instead of each fact, by the fact's id: its pair's version of the base, if any."""
    found: dict[str, Fact] = {}
    by_pair = {(fact.subject.id, fact.relation): fact.id for fact in facts}
    for part in _chunks(sorted(by_pair), PARAMETERS):
        where = tuple_(FactRow.subject_id, FactRow.relation).in_(part)
        for fact in _facts(session, where, FactRow.known.is_(True)):
            found[by_pair[fact.subject.id, fact.relation]] = fact
    return found


def withdraw(
    session: Session, ids: Sequence[str], catalogue: Catalogue, *, why: str, who: str, now: datetime
) -> list[Fact]:
    """Take facts back: as if they had never been ingested; what they superseded holds again. Raises: NotFound."""
    facts = [get_fact(session, id_) for id_ in ids]
    for fact in facts:
        after = {"status": FactStatus.WITHDRAWN, "reason": f"withdrawn: {why}", "changed_at": now}
        session.execute(update(FactRow).where(FactRow.id == fact.id).values(after))
        session.add(AuditRow(at=now, who=who, what=f"withdraw {fact.id}", why=why))
    settle(session, {(f.subject.id, f.relation) for f in facts}, catalogue, now=now)
    return [replace(fact, status=FactStatus.WITHDRAWN) for fact in facts]


def mark_live(session: Session, ids: Sequence[str], *, now: datetime) -> None:
    """These facts are in the live release, others are not: pending ones become active and the reverse."""
    live = set(ids)
    for fact in list_facts(session, status=WRITTEN):
        status = FactStatus.ACTIVE if fact.id in live else FactStatus.PENDING
        if status is not fact.status:
            session.execute(
                update(FactRow).where(FactRow.id == fact.id).values(status=status, changed_at=now)
            )


def counts(session: Session) -> dict[str, int]:
    """The number of fact versions by status."""
    found = session.execute(select(FactRow.status, func.count()).group_by(FactRow.status))
    return {status.value: 0 for status in FactStatus} | {row[0]: row[1] for row in found}
