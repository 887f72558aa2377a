"""Conflict resolution in the database.

The functions here change something (claims, verdicts, time, the base model's answers, the base in
effect) and then resolve the affected (subject, relation) pairs again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select, tuple_, update
from sqlalchemy.orm import Session

from factd.store.catalogue.catalogue import Catalogue
from factd.store.database.chunks import chunks
from factd.store.errors import BakedIntoBase
from factd.store.model.bases import BaseStatus
from factd.store.model.facts import BaseAnswer, Fact, FactStatus, Ruling
from factd.store.model.resolution import Resolution, Rules, held_by_base, resolve
from factd.store.queries.bases import baked_facts, lineage
from factd.store.queries.facts import (
    FACTS,
    PARAMETERS,
    facts_by_id,
    facts_of,
    facts_where,
    get_fact,
    verdicts_of,
)
from factd.store.schema.facts import FactRow, VerdictRow
from factd.store.schema.releases import AuditLogRow

DUE_LIMIT = 5000  # most versions that `resolve_due` looks at in one transaction


@dataclass(frozen=True, kw_only=True)
class ConflictResolver:
    """What decides which claim holds: the catalogue's cardinalities and the configured rules."""

    catalogue: Catalogue
    rules: Rules = field(default_factory=Rules)

    def many(self, relation: str) -> bool:
        """Whether a subject may have several objects at a time.

        False for a relation that is no longer in the catalogue.
        """
        return relation in self.catalogue and self.catalogue[relation].many


@dataclass(frozen=True, kw_only=True)
class ResolutionChange:
    """A fact version as it was, and its new resolution."""

    fact: Fact
    resolution: Resolution

    @property
    def is_change(self) -> bool:
        """Whether the new resolution differs from the version's present state."""
        fact, new = self.fact, self.resolution
        return (fact.status, fact.reason, fact.change, fact.due_at) != (
            new.status,
            new.reason,
            new.change,
            new.due_at,
        )

    def net_change(self, status: FactStatus) -> int:
        """1 if the version gets this status, -1 if it loses it, 0 otherwise."""
        return (self.resolution.status is status) - (self.fact.status is status)


def resolve_pairs(
    session: Session, pairs: Iterable[tuple[str, str]], resolver: ConflictResolver, *, now: datetime
) -> list[ResolutionChange]:
    """Resolve some (subject, relation) pairs again and store the result.

    Returns the changes in no particular order; no limit.
    """
    changes: list[ResolutionChange] = []
    for part in chunks(sorted(pairs), PARAMETERS):
        changes += [one for one in _resolutions(session, part, resolver, now) if one.is_change]
    if changes:
        names = [name for name in _values(changes[0], now) if name != "key"]
        columns: dict[str, Any] = {name: bindparam(name) for name in names}
        statement = FACTS.update().where(FACTS.c.id == bindparam("key")).values(columns)
        session.execute(statement, [_values(change, now) for change in changes])
        session.expire_all()
    return changes


def _resolutions(
    session: Session, pairs: Sequence[tuple[str, str]], resolver: ConflictResolver, now: datetime
) -> Iterator[ResolutionChange]:
    """Every version of some pairs with its resolution, whether or not it changed."""
    versions: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts_of(session, pairs):
        versions.setdefault(fact.update.pair, []).append(fact)
    verdicts = verdicts_of(session, pairs)
    for pair, facts in versions.items():
        many, ruled = resolver.many(pair[1]), verdicts.get(pair, {})
        resolutions = resolve(facts, now, many=many, verdicts=ruled, rules=resolver.rules)
        for fact in facts:
            yield ResolutionChange(fact=fact, resolution=resolutions[fact.id])


def _values(change: ResolutionChange, now: datetime) -> dict[str, Any]:
    return {
        "key": change.fact.id,
        "status": change.resolution.status.value,
        "reason": change.resolution.reason,
        "change": change.resolution.change.value,
        "due_at": change.resolution.due_at,
        "changed_at": now,
    }


def resolve_due(
    session: Session, resolver: ConflictResolver, *, now: datetime, limit: int = DUE_LIMIT
) -> int:
    """Resolve the versions that became valid, finished soaking or expired by now.

    Looks at no more than `limit` versions and returns their number. If it equals `limit`, call
    again.
    """
    due = select(FactRow.subject_id, FactRow.relation).where(FactRow.due_at <= now).limit(limit)
    pairs = [(subject, relation) for subject, relation in session.execute(due)]
    resolve_pairs(session, set(pairs), resolver, now=now)
    return len(pairs)


def rule(
    session: Session,
    ids: Sequence[str],
    ruling: Ruling,
    resolver: ConflictResolver,
    *,
    why: str,
    who: str,
    now: datetime,
) -> list[Fact]:
    """Store a ruling about the values of some facts and resolve them again.

    Returns the facts, by id.
    The ruling applies to every claim of the same values.
    Raises: NotFound: no fact has one of the ids.
    BakedIntoBase: the ruling takes back a value that was baked into the base in effect.
    """
    facts = [get_fact(session, id_) for id_ in ids]
    if ruling in (Ruling.WITHDRAWN, Ruling.REJECTED):
        refuse_baked(session, facts, resolver)
    for fact in facts:
        row = VerdictRow(
            subject_id=fact.subject.id,
            relation=fact.relation,
            object_id=fact.object.id,
            ruling=ruling,
            why=why,
            who=who,
            at=now,
        )
        session.merge(row)
        session.flush()
        session.add(AuditLogRow(at=now, who=who, what=f"{ruling.value} {fact.id}", why=why))
    resolve_pairs(session, {fact.update.pair for fact in facts}, resolver, now=now)
    return facts_by_id(session, [fact.id for fact in facts])


def withdraw(
    session: Session,
    ids: Sequence[str],
    resolver: ConflictResolver,
    *,
    why: str,
    who: str,
    now: datetime,
) -> list[Fact]:
    """Take facts back, as if they had never been ingested; what they superseded holds again.

    Returns the facts, by id. Raises: NotFound, BakedIntoBase: as `rule`.
    """
    return rule(session, ids, Ruling.WITHDRAWN, resolver, why=why, who=who, now=now)


def refuse_baked(session: Session, facts: Sequence[Fact], resolver: ConflictResolver) -> None:
    """Check that no value of some facts was baked into the base in effect.

    Raises: BakedIntoBase: one was, and the base says it.
    """
    for fact in facts:
        versions = facts_of(session, [fact.update.pair])
        held = held_by_base(versions, many=resolver.many(fact.relation))
        number = held.get(fact.object.id, 0)
        if number:
            raise BakedIntoBase(_why_baked(session, fact, number))


def _why_baked(session: Session, fact: Fact, number: int) -> str:
    """A sentence for the operator: since when the fact is baked, and what can still be done."""
    base, *parents = lineage(session, number)
    when = f"release {base.release}, {base.created_at:%Y-%m-%d}"
    fault = f"fact {fact.id} is baked into base {number} ({when})"
    remedy = "ingest the right value, which is written over it"
    if parents and parents[0].status is BaseStatus.PRUNED:
        return f"{fault} and the base before it was pruned; {remedy}"
    return f"{fault}; run `factd rebase --undo` first, or {remedy}"


def lift_rulings(
    session: Session, ids: Sequence[str], resolver: ConflictResolver, *, who: str, now: datetime
) -> list[Fact]:
    """Delete the rulings about the values of some facts and resolve them again.

    Returns the facts, by id.
    Raises: NotFound: no fact has one of the ids.
    """
    facts = [get_fact(session, id_) for id_ in ids]
    for fact in facts:
        key = (fact.subject.id, fact.relation, fact.object.id)
        columns = tuple_(VerdictRow.subject_id, VerdictRow.relation, VerdictRow.object_id)
        session.execute(delete(VerdictRow).where(columns == key))
        session.add(AuditLogRow(at=now, who=who, what=f"lift {fact.id}", why=""))
    session.flush()
    resolve_pairs(session, {fact.update.pair for fact in facts}, resolver, now=now)
    return facts_by_id(session, [fact.id for fact in facts])


def save_base_answers(
    session: Session,
    answers: Mapping[str, BaseAnswer],
    resolver: ConflictResolver,
    *,
    now: datetime,
) -> int:
    """Store the base model's answers about some facts and resolve them again.

    answers: by fact id. Returns the number of versions whose resolution changed.
    """
    for answer in sorted(set(answers.values())):
        ids = [id_ for id_, one in answers.items() if one == answer]
        for part in chunks(ids, PARAMETERS):
            session.execute(update(FactRow).where(FactRow.id.in_(part)).values(asked=answer))
    facts = facts_by_id(session, answers)
    return len(resolve_pairs(session, {fact.update.pair for fact in facts}, resolver, now=now))


def forget_base_answers(session: Session, resolver: ConflictResolver, *, now: datetime) -> int:
    """Delete all answers of the base model, because another base model is in use; resolve again.

    Returns the number of facts whose answer was deleted.
    """
    has_answer = FactRow.asked != BaseAnswer.NOT_ASKED
    asked = facts_where(session, has_answer)
    session.execute(update(FactRow).where(has_answer).values(asked=BaseAnswer.NOT_ASKED))
    resolve_pairs(session, {fact.update.pair for fact in asked}, resolver, now=now)
    return len(asked)


def mark_baked(session: Session, number: int, resolver: ConflictResolver, *, now: datetime) -> int:
    """Mark the facts that were baked into the base now in effect, and unmark all others.

    Returns the number of facts whose mark changed. Raises: NotFound: there is no such base.
    """
    new = baked_facts(session, number)
    query = select(FactRow.id, FactRow.baked_in).where(FactRow.baked_in.is_not(None))
    old: dict[str, int | None] = {id_: value for id_, value in session.execute(query)}  # noqa: C416
    by_value: dict[int | None, list[str]] = {}
    for id_ in sorted(new.keys() | old.keys()):
        if new.get(id_) != old.get(id_):
            by_value.setdefault(new.get(id_), []).append(id_)
    pairs: set[tuple[str, str]] = set()
    for value, ids in by_value.items():
        for part in chunks(ids, PARAMETERS):
            in_part = FactRow.id.in_(part)
            session.execute(update(FactRow).where(in_part).values(baked_in=value))
            rows = session.execute(select(FactRow.subject_id, FactRow.relation).where(in_part))
            pairs |= {(subject, relation) for subject, relation in rows}
    session.expire_all()
    resolve_pairs(session, pairs, resolver, now=now)
    return sum(map(len, by_value.values()))


def mark_live(session: Session, ids: Sequence[str], *, now: datetime) -> None:
    """Make pending facts of the live release active, and active facts outside it pending.

    ids: the ids of all facts in the live release.
    """
    live = set(ids)
    active = set(session.scalars(select(FactRow.id).where(FactRow.status == FactStatus.ACTIVE)))
    for changed, before, after in (
        (active - live, FactStatus.ACTIVE, FactStatus.PENDING),
        (live - active, FactStatus.PENDING, FactStatus.ACTIVE),
    ):
        for part in chunks(sorted(changed), PARAMETERS):
            where = (FactRow.id.in_(part), FactRow.status == before)
            session.execute(update(FactRow).where(*where).values(status=after, changed_at=now))
