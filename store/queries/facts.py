"""Facts in the database, read: lists, history, verdicts, and what waits by its turn."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, cast

from sqlalchemy import Table, func, literal, or_, select, true, tuple_, union_all
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.errors import NotFound
from factd.store.model.facts import (
    WRITTEN,
    Asked,
    Change,
    Entity,
    Fact,
    FactStatus,
    FactUpdate,
    Provenance,
    Ruling,
    Verdict,
)
from factd.store.model.resolution import takes_back
from factd.store.schema.facts import FactRow, VerdictRow

CHUNK = 1000  # ids in one IN list
PARAMETERS = 400  # pairs in one IN list
FACTS = cast(Table, FactRow.__table__)
TURN, TURNS = (FactRow.turn, FactRow.id), 250
OF_THE_BASE = or_(FactRow.known.is_(True), FactRow.baked_in.is_not(None))


def verdicts_of(
    session: Session, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Verdict]]:
    """What was decided about some subjects and relations: by pair, then by object id."""
    where = VerdictRow.subject_id.in_({subject for subject, _ in pairs})
    found: dict[tuple[str, str], dict[str, Verdict]] = {}
    for row in session.scalars(select(VerdictRow).where(where)):
        verdict = Verdict(ruling=Ruling(row.ruling), why=row.why, who=row.who, at=row.at)
        found.setdefault((row.subject_id, row.relation), {})[row.object_id] = verdict
    return found


def _entity(data: Mapping[str, Any]) -> Entity:
    aliases = {k: tuple(v) for k, v in data["aliases"].items()}
    return Entity(id=data["id"], labels=data["labels"], aliases=aliases)


def _fact(row: Any) -> Fact:
    said = FactUpdate(
        source=row.source,
        revision=row.revision,
        event_time=row.event_time,
        subject=_entity(row.subject),
        relation=row.relation,
        object=_entity(row.object),
        valid_from=row.valid_from,
        valid_to=row.valid_to,
        withdrawn=row.withdrawn,
        references=row.reference_count,
        risk=row.risk,
        demand=row.demand,
    )
    how = Provenance(
        channel=row.channel,
        trust=row.trust,
        licence=row.licence,
        file=row.file,
        line=row.line,
        retrieved_at=row.retrieved_at,
        payload_hash=row.payload_hash,
        soak_until=row.soak_until,
        needs_sources=row.needs_sources,
        hold=row.hold,
    )
    return Fact(
        id=row.id,
        update=said,
        status=FactStatus(row.status),
        observed_at=row.observed_at,
        known=row.known,
        reason=row.reason,
        provenance=how,
        change=Change(row.change),
        asked=Asked(row.asked),
        due_at=row.due_at,
        turn=row.turn,
        baked_in=row.baked_in,
    )


def facts_where(
    session: Session, *where: Any, limit: int | None = None, order: Sequence[Any] = (FactRow.id,)
) -> list[Fact]:
    """Versions that meet some conditions; plain rows, which take half the time of mapped objects."""
    query = select(FACTS).where(*where).order_by(*order).limit(limit)
    return [_fact(row) for row in session.execute(query)]


def facts_of(session: Session, pairs: Iterable[tuple[str, str]], *where: Any) -> list[Fact]:
    """Every version of some subjects and relations.

    Asked for by subject: SQLite reads the whole table for (subject, relation) IN (…).
    """
    wanted, found = set(pairs), list[Fact]()
    for part in chunks(sorted({subject for subject, _ in wanted}), PARAMETERS):
        found += facts_where(session, FactRow.subject_id.in_(part), *where)
    return [fact for fact in found if fact.update.pair in wanted]


def pending_pairs(session: Session, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of some subjects and relations that have a fact which waits to be written."""
    return {fact.update.pair for fact in pending_of(session, pairs)}


def pending_of(session: Session, pairs: Iterable[tuple[str, str]]) -> list[Fact]:
    """The facts that wait to be written about some subjects and relations."""
    return facts_of(session, pairs, FactRow.status == FactStatus.PENDING)


def list_facts(
    session: Session,
    *,
    status: Sequence[FactStatus] = (),
    relation: str | None = None,
    subject: str | None = None,
    channel: str | None = None,
    limit: int | None = None,
) -> list[Fact]:
    """Fact versions by id."""
    if subject:
        found = facts_where(session, FactRow.subject_id == subject, order=())
        return [
            fact
            for fact in sorted(found, key=lambda fact: fact.id)
            if (not status or fact.status in status)
            and (not relation or fact.relation == relation)
            and (not channel or fact.provenance.channel == channel)
        ][:limit]
    where: list[Any] = [FactRow.status.in_(status)] if status else []
    where += [FactRow.relation == relation] if relation else []
    where += [FactRow.channel == channel] if channel else []
    return facts_where(session, *where, limit=limit)


def waiting(
    session: Session,
    status: FactStatus,
    *,
    limit: int,
    relation: str | None = None,
    channel: str | None = None,
) -> list[Fact]:
    """Facts of one status, those first whose turn comes first."""
    where: list[Any] = [FactRow.status == status]
    where += [FactRow.relation == relation] if relation else []
    where += [FactRow.channel == channel] if channel else []
    return facts_where(session, *where, limit=limit, order=TURN)


def by_priority(session: Session, status: FactStatus) -> Iterator[Fact]:
    """All facts of one status, those first whose turn comes first, fetched some hundred at a time."""
    where, last = FactRow.status == status, None
    while True:
        after = tuple_(FactRow.turn, FactRow.id) > last if last else true()
        found = facts_where(session, where, after, limit=TURNS, order=TURN)
        yield from found
        if len(found) < TURNS:
            return
        last = found[-1].turn, found[-1].id


def of_the_base(session: Session, *, limit: int) -> list[Fact]:
    """What the base model holds, also where something newer is claimed by now, by id."""
    return facts_where(session, OF_THE_BASE, limit=limit)


def archival(session: Session, *, limit: int) -> list[Fact]:
    """Facts that ended without a successor, which no edit can write."""
    return facts_where(session, FactRow.change == Change.ARCHIVAL, limit=limit)


def get_fact(session: Session, id_: str) -> Fact:
    """One version by its id or the unique start of it. Raises: NotFound."""
    found = facts_where(session, FactRow.id >= id_, FactRow.id < f"{id_}g", limit=2) if id_ else []
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


def verdicts(session: Session, subject: str, relation: str) -> dict[str, Verdict]:
    """What was decided about the values of one subject and relation, by object id."""
    return verdicts_of(session, [(subject, relation)]).get((subject, relation), {})


def facts_by_id(session: Session, ids: Iterable[str]) -> list[Fact]:
    """Some versions, by id."""
    return [
        fact
        for part in chunks(sorted(set(ids)), CHUNK)
        for fact in facts_where(session, FactRow.id.in_(part))
    ]


def candidate_set(session: Session) -> list[Fact]:
    """The facts that the next release may hold: all that are current and not the base model's own, by id."""
    return list_facts(session, status=WRITTEN)


def previous(session: Session, facts: Sequence[Fact]) -> dict[str, Fact]:
    """What the base model says instead of each fact, by the fact's id: its pair's newest version of the base, if any.

    What was baked into it lies over what the original model held, and the last baked over what was baked before.
    """
    found: dict[str, Fact] = {}
    by_pair: dict[tuple[str, str], list[str]] = {}
    for fact in facts:
        by_pair.setdefault(fact.update.pair, []).append(fact.id)
    for fact in sorted(facts_of(session, by_pair, OF_THE_BASE), key=_laid_over):
        found |= dict.fromkeys(by_pair[fact.update.pair], fact)
    return found


def _laid_over(fact: Fact) -> tuple[Any, ...]:
    since = fact.update.valid_from or date.min
    return fact.baked_in or 0, since, fact.update.event_time, fact.id


def counts(session: Session) -> dict[str, int]:
    """The number of fact versions by status; one count after the other is half the work of GROUP BY on SQLite."""
    each = [
        select(literal(status.value), func.count()).where(FactRow.status == status)
        for status in FactStatus
    ]
    found = {status: count for status, count in session.execute(union_all(*each))}  # noqa: C416 - rows, no dict
    return {status.value: found[status.value] for status in FactStatus}


def claimed(session: Session, source: str, subject: str) -> list[Fact]:
    """What a source claims about a subject and has not taken back."""
    found = facts_where(session, FactRow.subject_id == subject, FactRow.source == source)
    return [
        fact
        for fact in found
        if not fact.update.withdrawn
        and not any(n.relation == fact.relation and takes_back(n, fact) for n in found)
    ]
