"""Read queries for facts: lists, history, verdicts, and the queue of facts to write."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any, cast

from sqlalchemy import Table, func, literal, or_, select, true, tuple_, union_all
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.errors import NotFound
from factd.store.model.facts import (
    WRITTEN,
    BaseAnswer,
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
WRITE_ORDER = (FactRow.turn, FactRow.id)
PAGE = 250  # facts that `by_priority` reads at once
HELD_BY_BASE = or_(FactRow.known.is_(True), FactRow.baked_in.is_not(None))


def verdicts_of(
    session: Session, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Verdict]]:
    """The verdicts about some (subject, relation) pairs, by pair and then by object id.

    Pairs without a verdict are missing. Verdicts about other relations of the subjects may be
    included. No limit.
    """
    where = VerdictRow.subject_id.in_({subject for subject, _ in pairs})
    by_pair: dict[tuple[str, str], dict[str, Verdict]] = {}
    for row in session.scalars(select(VerdictRow).where(where)):
        verdict = Verdict(ruling=Ruling(row.ruling), why=row.why, who=row.who, at=row.at)
        by_pair.setdefault((row.subject_id, row.relation), {})[row.object_id] = verdict
    return by_pair


def _entity(data: Mapping[str, Any]) -> Entity:
    aliases = {k: tuple(v) for k, v in data["aliases"].items()}
    return Entity(id=data["id"], labels=data["labels"], aliases=aliases)


def _fact(row: Any) -> Fact:
    claim = FactUpdate(
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
    provenance = Provenance(
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
        update=claim,
        status=FactStatus(row.status),
        observed_at=row.observed_at,
        known=row.known,
        reason=row.reason,
        provenance=provenance,
        change=Change(row.change),
        base_answer=BaseAnswer(row.asked),
        due_at=row.due_at,
        write_order=row.turn,
        baked_in=row.baked_in,
    )


def facts_where(
    session: Session, *where: Any, limit: int | None = None, order: Sequence[Any] = (FactRow.id,)
) -> list[Fact]:
    """The fact versions that meet some SQL conditions, by id or in `order`; at most `limit`.

    Reads plain rows, which takes half the time of mapped objects.
    """
    query = select(FACTS).where(*where).order_by(*order).limit(limit)
    return [_fact(row) for row in session.execute(query)]


def facts_of(session: Session, pairs: Iterable[tuple[str, str]], *where: Any) -> list[Fact]:
    """Every version of some (subject, relation) pairs that meets some SQL conditions; no limit.

    Sorted by id within groups of subjects. The query names only subjects, because SQLite reads
    the whole table for (subject, relation) IN (…).
    """
    wanted, facts = set(pairs), list[Fact]()
    for part in chunks(sorted({subject for subject, _ in wanted}), PARAMETERS):
        facts += facts_where(session, FactRow.subject_id.in_(part), *where)
    return [fact for fact in facts if fact.update.pair in wanted]


def pending_pairs(session: Session, pairs: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The given (subject, relation) pairs that have a fact which waits to be written."""
    return {fact.update.pair for fact in pending_of(session, pairs)}


def pending_of(session: Session, pairs: Iterable[tuple[str, str]]) -> list[Fact]:
    """The facts of some (subject, relation) pairs that wait to be written; no limit.

    Sorted by id within groups of subjects.
    """
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
    """The fact versions that match every given filter, by id; at most `limit`, None: all."""
    if subject:
        versions = facts_where(session, FactRow.subject_id == subject, order=())
        return [
            fact
            for fact in sorted(versions, key=lambda fact: fact.id)
            if (not status or fact.status in status)
            and (not relation or fact.relation == relation)
            and (not channel or fact.provenance.channel == channel)
        ][:limit]
    where: list[Any] = [FactRow.status.in_(status)] if status else []
    where += [FactRow.relation == relation] if relation else []
    where += [FactRow.channel == channel] if channel else []
    return facts_where(session, *where, limit=limit)


def in_write_order(
    session: Session,
    status: FactStatus,
    *,
    limit: int,
    relation: str | None = None,
    channel: str | None = None,
) -> list[Fact]:
    """The facts of one status in the order they are written; at most `limit`."""
    where: list[Any] = [FactRow.status == status]
    where += [FactRow.relation == relation] if relation else []
    where += [FactRow.channel == channel] if channel else []
    return facts_where(session, *where, limit=limit, order=WRITE_ORDER)


def by_priority(session: Session, status: FactStatus) -> Iterator[Fact]:
    """All facts of one status in the order they are written, read page by page; no limit."""
    where, last = FactRow.status == status, None
    while True:
        after = tuple_(FactRow.turn, FactRow.id) > last if last else true()
        page = facts_where(session, where, after, limit=PAGE, order=WRITE_ORDER)
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1].write_order, page[-1].id


def held_by_base(session: Session, *, limit: int) -> list[Fact]:
    """The facts that the base model holds, by id; at most `limit`.

    Facts are included even if a newer value is claimed.
    """
    return facts_where(session, HELD_BY_BASE, limit=limit)


def list_archival(session: Session, *, limit: int) -> list[Fact]:
    """The facts that ended without a successor, by id; at most `limit`. No edit can write them."""
    return facts_where(session, FactRow.change == Change.ARCHIVAL, limit=limit)


def get_fact(session: Session, id_: str) -> Fact:
    """One fact version by its id or by an unambiguous beginning of the id.

    Raises: NotFound: no fact or several facts match.
    """
    matches = (
        facts_where(session, FactRow.id >= id_, FactRow.id < f"{id_}g", limit=2) if id_ else []
    )
    if len(matches) != 1:
        how_many = "several facts" if matches else "no fact"
        raise NotFound(f"{how_many} with id {id_!r}; see `factd facts list`")
    return matches[0]


def history(session: Session, subject: str, relation: str) -> list[Fact]:
    """All versions of one subject and relation, newest start of validity first; no limit."""
    versions = list_facts(session, subject=subject, relation=relation)
    return sorted(
        versions, key=lambda f: (f.update.valid_from or date.min, f.update.event_time), reverse=True
    )


def verdicts(session: Session, subject: str, relation: str) -> dict[str, Verdict]:
    """The verdicts about the values of one subject and relation, by object id; no limit."""
    return verdicts_of(session, [(subject, relation)]).get((subject, relation), {})


def facts_by_id(session: Session, ids: Iterable[str]) -> list[Fact]:
    """The fact versions with the given ids, by id. Unknown ids are left out."""
    return [
        fact
        for part in chunks(sorted(set(ids)), CHUNK)
        for fact in facts_where(session, FactRow.id.in_(part))
    ]


def candidate_set(session: Session) -> list[Fact]:
    """The facts that the next release may hold, by id; no limit.

    These are all current facts that the base model does not hold.
    """
    return list_facts(session, status=WRITTEN)


def base_counterparts(session: Session, facts: Sequence[Fact]) -> dict[str, Fact]:
    """The fact that the base model holds instead of each given fact, by the id of the given fact.

    It is the newest version of the same subject and relation that the base model holds. A baked
    fact replaces what the original model held, and a fact that was baked later replaces one
    that was baked before. Facts without a counterpart are missing.
    """
    counterparts: dict[str, Fact] = {}
    by_pair: dict[tuple[str, str], list[str]] = {}
    for fact in facts:
        by_pair.setdefault(fact.update.pair, []).append(fact.id)
    for held in sorted(facts_of(session, by_pair, HELD_BY_BASE), key=_bake_order):
        counterparts |= dict.fromkeys(by_pair[held.update.pair], held)
    return counterparts


def _bake_order(fact: Fact) -> tuple[Any, ...]:
    since = fact.update.valid_from or date.min
    return fact.baked_in or 0, since, fact.update.event_time, fact.id


def counts(session: Session) -> dict[str, int]:
    """The number of fact versions by status, every status included.

    On SQLite, one count after the other takes half the time of GROUP BY.
    """
    each = [
        select(literal(status.value), func.count()).where(FactRow.status == status)
        for status in FactStatus
    ]
    by_status = {status: count for status, count in session.execute(union_all(*each))}  # noqa: C416 - rows, no dict
    return {status.value: by_status[status.value] for status in FactStatus}


def claims_of_source(session: Session, source: str, subject: str) -> list[Fact]:
    """The claims of a source about a subject that it has not taken back, by id; no limit."""
    claims = facts_where(session, FactRow.subject_id == subject, FactRow.source == source)
    return [
        fact
        for fact in claims
        if not fact.update.withdrawn
        and not any(n.relation == fact.relation and takes_back(n, fact) for n in claims)
    ]
