"""Which facts hold, in the database: standings of the pairs that something happened to, verdicts, what time changes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, select, tuple_, update
from sqlalchemy.orm import Session

from factd.store.catalogue.catalogue import Catalogue
from factd.store.database.chunks import chunks
from factd.store.errors import Baked
from factd.store.model.bases import BaseStatus
from factd.store.model.facts import Asked, Fact, FactStatus, Ruling
from factd.store.model.resolution import Rules, Standing, held_by_base, standings
from factd.store.queries.bases import baked, lineage
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
from factd.store.schema.releases import AuditRow

DUE = 5000  # versions that time changes in one transaction


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What decides which claim holds: the catalogue's cardinalities and the declared rules."""

    catalogue: Catalogue
    rules: Rules = field(default_factory=Rules)

    def many(self, relation: str) -> bool:
        """A subject may have several objects; a relation that left the catalogue has one."""
        return relation in self.catalogue and self.catalogue[relation].many


@dataclass(frozen=True, kw_only=True)
class Move:
    """A version before and its standing after."""

    fact: Fact
    standing: Standing

    @property
    def changes(self) -> bool:
        """Something is not as it was."""
        fact, now = self.fact, self.standing
        return (fact.status, fact.reason, fact.change, fact.due_at) != (
            now.status,
            now.reason,
            now.change,
            now.due_at,
        )

    def to(self, status: FactStatus) -> int:
        """1: it came to this status, -1: it left it, else 0."""
        return (self.standing.status is status) - (self.fact.status is status)


def settle(
    session: Session, pairs: Iterable[tuple[str, str]], judge: Judge, *, now: datetime
) -> list[Move]:
    """Give every version of some subjects and relations the status it has among the others; what changed."""
    moves: list[Move] = []
    for part in chunks(sorted(pairs), PARAMETERS):
        versions: dict[tuple[str, str], list[Fact]] = {}
        for fact in facts_of(session, part):
            versions.setdefault(fact.update.pair, []).append(fact)
        ruled = verdicts_of(session, part)
        for pair, facts in versions.items():
            many, mine = judge.many(pair[1]), ruled.get(pair, {})
            found = standings(facts, now, many=many, verdicts=mine, rules=judge.rules)
            moves += [Move(fact=fact, standing=found[fact.id]) for fact in facts]
    moves = [move for move in moves if move.changes]
    if moves:
        names = [name for name in _values(moves[0], now) if name != "key"]
        columns: dict[str, Any] = {name: bindparam(name) for name in names}
        statement = FACTS.update().where(FACTS.c.id == bindparam("key")).values(columns)
        session.execute(statement, [_values(move, now) for move in moves])
        session.expire_all()
    return moves


def _values(move: Move, now: datetime) -> dict[str, Any]:
    return {
        "key": move.fact.id,
        "status": move.standing.status.value,
        "reason": move.standing.reason,
        "change": move.standing.change.value,
        "due_at": move.standing.due_at,
        "changed_at": now,
    }


def settle_all(session: Session, judge: Judge, *, now: datetime, limit: int = DUE) -> int:
    """Let time pass: what becomes valid, has soaked or expires by now. The number of versions looked at, at most `limit`."""
    due = select(FactRow.subject_id, FactRow.relation).where(FactRow.due_at <= now).limit(limit)
    pairs = [(subject, relation) for subject, relation in session.execute(due)]
    settle(session, set(pairs), judge, now=now)
    return len(pairs)


def rule(
    session: Session,
    ids: Sequence[str],
    ruling: Ruling,
    judge: Judge,
    *,
    why: str,
    who: str,
    now: datetime,
) -> list[Fact]:
    """Decide about the values of some facts; what other claims of the same values say changes nothing.

    Raises: NotFound. Baked: it would take back what is in the weights of the base.
    """
    facts = [get_fact(session, id_) for id_ in ids]
    if ruling in (Ruling.WITHDRAWN, Ruling.REJECTED):
        refuse_baked(session, facts, judge)
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
        session.add(AuditRow(at=now, who=who, what=f"{ruling.value} {fact.id}", why=why))
    settle(session, {fact.update.pair for fact in facts}, judge, now=now)
    return facts_by_id(session, [fact.id for fact in facts])


def withdraw(
    session: Session, ids: Sequence[str], judge: Judge, *, why: str, who: str, now: datetime
) -> list[Fact]:
    """Take facts back: as if they had never been ingested; what they superseded holds again. Raises: NotFound, Baked."""
    return rule(session, ids, Ruling.WITHDRAWN, judge, why=why, who=who, now=now)


def refuse_baked(session: Session, facts: Sequence[Fact], judge: Judge) -> None:
    """Raises: Baked: the base in effect says one of these values, because it was baked into it."""
    for fact in facts:
        versions = facts_of(session, [fact.update.pair])
        held = held_by_base(versions, many=judge.many(fact.relation))
        number = held.get(fact.object.id, 0)
        if number:
            raise Baked(_why_baked(session, fact, number))


def _why_baked(session: Session, fact: Fact, number: int) -> str:
    """Since when, and what can be done about it still."""
    base, *parents = lineage(session, number)
    said = f"fact {fact.id} is baked into base {number} (release {base.release}, {base.created_at:%Y-%m-%d})"
    if parents and parents[0].status is BaseStatus.PRUNED:
        return f"{said} and the base before it was pruned; ingest the right value, which is written over it"
    return (
        f"{said}; `factd rebase --undo` first, or ingest the right value, which is written over it"
    )


def lift(
    session: Session, ids: Sequence[str], judge: Judge, *, who: str, now: datetime
) -> list[Fact]:
    """Undo the rulings about the values of some facts. Raises: NotFound."""
    facts = [get_fact(session, id_) for id_ in ids]
    for fact in facts:
        key = (fact.subject.id, fact.relation, fact.object.id)
        columns = tuple_(VerdictRow.subject_id, VerdictRow.relation, VerdictRow.object_id)
        session.execute(delete(VerdictRow).where(columns == key))
        session.add(AuditRow(at=now, who=who, what=f"lift {fact.id}", why=""))
    session.flush()
    settle(session, {fact.update.pair for fact in facts}, judge, now=now)
    return facts_by_id(session, [fact.id for fact in facts])


def note_answers(
    session: Session, answers: Mapping[str, Asked], judge: Judge, *, now: datetime
) -> int:
    """Keep what the base model said when it was asked about some facts (see `Fact.asked`); the number of status changes."""
    for said in sorted(set(answers.values())):
        ids = [id_ for id_, answer in answers.items() if answer == said]
        for part in chunks(ids, PARAMETERS):
            session.execute(update(FactRow).where(FactRow.id.in_(part)).values(asked=said))
    facts = facts_by_id(session, answers)
    return len(settle(session, {fact.update.pair for fact in facts}, judge, now=now))


def forget_answers(session: Session, judge: Judge, *, now: datetime) -> int:
    """Another base model: what the last one said does not count any more. The number of facts that are asked again."""
    asked = facts_where(session, FactRow.asked != Asked.NOT)
    session.execute(update(FactRow).where(FactRow.asked != Asked.NOT).values(asked=Asked.NOT))
    settle(session, {fact.update.pair for fact in asked}, judge, now=now)
    return len(asked)


def mark_baked(session: Session, number: int, judge: Judge, *, now: datetime) -> int:
    """Another base is in effect: mark the facts that it holds because they were baked, and no others. How many changed."""
    wanted = baked(session, number)
    query = select(FactRow.id, FactRow.baked_in).where(FactRow.baked_in.is_not(None))
    there: dict[str, int | None] = {id_: value for id_, value in session.execute(query)}  # noqa: C416
    by_value: dict[int | None, list[str]] = {}
    for id_ in sorted(wanted.keys() | there.keys()):
        if wanted.get(id_) != there.get(id_):
            by_value.setdefault(wanted.get(id_), []).append(id_)
    pairs: set[tuple[str, str]] = set()
    for value, ids in by_value.items():
        for part in chunks(ids, PARAMETERS):
            mine = FactRow.id.in_(part)
            session.execute(update(FactRow).where(mine).values(baked_in=value))
            rows = session.execute(select(FactRow.subject_id, FactRow.relation).where(mine))
            pairs |= {(subject, relation) for subject, relation in rows}
    session.expire_all()
    settle(session, pairs, judge, now=now)
    return sum(map(len, by_value.values()))


def mark_live(session: Session, ids: Sequence[str], *, now: datetime) -> None:
    """These facts are in the live release, others are not: pending ones become active and the reverse."""
    live = set(ids)
    active = set(session.scalars(select(FactRow.id).where(FactRow.status == FactStatus.ACTIVE)))
    for wanted, before, after in (
        (active - live, FactStatus.ACTIVE, FactStatus.PENDING),
        (live - active, FactStatus.PENDING, FactStatus.ACTIVE),
    ):
        for part in chunks(sorted(wanted), PARAMETERS):
            where = (FactRow.id.in_(part), FactRow.status == before)
            session.execute(update(FactRow).where(*where).values(status=after, changed_at=now))
