"""Facts in the database: ingest, history, verdicts, and the set that the next release holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from itertools import islice
from typing import Any, TypeVar, cast

from sqlalchemy import Table, bindparam, delete, func, insert, select, true, tuple_, update
from sqlalchemy.orm import Session

from store.catalogue import Catalogue
from store.errors import NotFound
from store.facts import (
    WRITTEN,
    Change,
    Entity,
    Fact,
    FactStatus,
    FactUpdate,
    Provenance,
    Receipt,
    Ruling,
    Terms,
    Verdict,
    turn,
)
from store.name_queries import note_names
from store.schema import AuditRow, BadLineRow, FactRow, VerdictRow
from store.standings import Rules, Standing, standings, takes_back
from store.updates import BadLine, Line

T = TypeVar("T")
CHUNK = 1000  # lines looked up at once
PARAMETERS = 400  # pairs in one IN list
DUE = 5000  # versions that time changes in one transaction
FACTS = cast(Table, FactRow.__table__)
TURN, TURNS = (FactRow.turn, FactRow.id), 250
BAD_SHOWN = 1000  # bad lines that a report holds; all are in the table


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What became of a source's lines."""

    lines: int = 0
    new: int = 0
    unchanged: int = 0
    pending: int = 0  # of the new ones, those that wait to be written
    malformed: int = 0  # set aside
    bad: tuple[BadLine, ...] = ()  # the first of those set aside, conflicts included

    def __add__(self, other: "IngestReport") -> "IngestReport":
        """Both together."""
        return IngestReport(
            lines=self.lines + other.lines,
            new=self.new + other.new,
            unchanged=self.unchanged + other.unchanged,
            pending=self.pending + other.pending,
            malformed=self.malformed + other.malformed,
            bad=(*self.bad, *other.bad)[:BAD_SHOWN],
        )


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


@dataclass(frozen=True, kw_only=True)
class Judge:
    """What decides which claim holds: the catalogue's cardinalities and the declared rules."""

    catalogue: Catalogue
    rules: Rules = field(default_factory=Rules)

    def many(self, relation: str) -> bool:
        """A subject may have several objects; a relation that left the catalogue has one."""
        return relation in self.catalogue and self.catalogue[relation].many


def ingest(
    session: Session,
    lines: Iterable[Line | BadLine],
    judge: Judge,
    *,
    receipt: Receipt,
    now: datetime,
    terms: Terms | None = None,
    known: bool = False,
) -> IngestReport:
    """Store what a source says. The same lines again change nothing; a bad line is set aside and loses no good one.

    Memory does not grow with the number of lines. known: the base model holds these facts; they are never written, only
    kept and measured.
    """
    found, conflicts = IngestReport(), dict[str, BadLine]()
    how = _How(judge=judge, terms=terms or Terms(), receipt=receipt, now=now, known=known)
    for chunk in chunks(lines, CHUNK):
        report, moves = _ingest_chunk(session, chunk, how)
        ours = [move for move in moves if how.brought(move.fact)]
        pending = sum(move.to(FactStatus.PENDING) for move in ours)
        found += replace(report, pending=pending)
        for move in ours:
            conflicts.pop(move.fact.id, None)
            if move.standing.status is FactStatus.CONFLICTING and len(conflicts) < BAD_SHOWN:
                conflicts[move.fact.id] = _conflict(move)
    _set_aside(session, receipt.file, tuple(conflicts.values()), now)
    ordered = sorted((*found.bad, *conflicts.values()), key=lambda line: line.number)
    return replace(found, bad=tuple(ordered))


@dataclass(frozen=True, kw_only=True)
class _How:
    """What all lines of one ingest share."""

    judge: Judge
    terms: Terms
    receipt: Receipt
    now: datetime
    known: bool

    def brought(self, fact: Fact) -> bool:
        """The fact came with this ingest."""
        return fact.observed_at == self.now and fact.provenance.file == self.receipt.file


def _conflict(move: Move) -> BadLine:
    reason = f"conflict: {move.standing.reason}"
    return BadLine(number=move.fact.provenance.line, reason=reason, excerpt=move.fact.id)


def _ingest_chunk(
    session: Session, chunk: Sequence[Line | BadLine], how: _How
) -> tuple[IngestReport, list[Move]]:
    bad = tuple(line for line in chunk if isinstance(line, BadLine))
    good = {line.update.id: line for line in chunk if isinstance(line, Line)}
    there = set(session.scalars(select(FactRow.id).where(FactRow.id.in_(good))))
    fresh = [line for id_, line in good.items() if id_ not in there]
    moves: list[Move] = []
    if fresh:
        session.execute(insert(FactRow), [_row(line, how) for line in fresh])
        note_names(session, (line.update for line in fresh))
        moves = settle(session, {line.update.pair for line in fresh}, how.judge, now=how.now)
    _set_aside(session, how.receipt.file, bad, how.now)
    report = IngestReport(
        lines=len(chunk),
        new=len(fresh),
        unchanged=len(chunk) - len(bad) - len(fresh),
        malformed=len(bad),
        bad=bad[:BAD_SHOWN],
    )
    return report, moves


def _set_aside(session: Session, file: str, bad: Sequence[BadLine], now: datetime) -> None:
    """Keep bad lines, each once however often its file or page is read."""
    for part in chunks(bad, CHUNK):
        where = (BadLineRow.file == file, BadLineRow.number.in_({line.number for line in part}))
        query = select(BadLineRow.number, BadLineRow.reason, BadLineRow.excerpt).where(*where)
        there = {tuple(row) for row in session.execute(query)}
        rows = [
            {"file": file, "number": b.number, "reason": b.reason, "excerpt": b.excerpt, "at": now}
            for b in part
            if (b.number, b.reason, b.excerpt) not in there
        ]
        if rows:
            session.execute(insert(BadLineRow), rows)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most so many items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _row(line: Line, shared: _How) -> dict[str, Any]:
    said, now = line.update, shared.now
    data, how = said.as_json(), Provenance.of(said, line.number, shared.terms, shared.receipt)
    return {
        "id": said.id,
        "source": said.source,
        "revision": said.revision,
        "event_time": said.event_time,
        "observed_at": now,
        "subject_id": said.subject.id,
        "subject": data["subject"],
        "relation": said.relation,
        "object_id": said.object.id,
        "object": data["object"],
        "valid_from": said.valid_from,
        "valid_to": said.valid_to,
        "known": shared.known,
        "status": FactStatus.SUPERSEDED,  # settle decides in the same transaction
        "reason": "",
        "changed_at": now,
        "channel": how.channel,
        "trust": how.trust,
        "licence": how.licence,
        "file": how.file,
        "line": how.line,
        "retrieved_at": how.retrieved_at,
        "payload_hash": how.payload_hash,
        "withdrawn": said.withdrawn,
        "reference_count": said.references,
        "risk": said.risk,
        "demand": said.demand,
        "soak_until": how.soak_until,
        "needs_sources": how.needs_sources,
        "hold": how.hold,
        "turn": turn(said, shared.terms, now),
    }


def settle(
    session: Session, pairs: Iterable[tuple[str, str]], judge: Judge, *, now: datetime
) -> list[Move]:
    """Give every version of some subjects and relations the status it has among the others; what changed."""
    moves: list[Move] = []
    for part in chunks(sorted(pairs), PARAMETERS):
        versions: dict[tuple[str, str], list[Fact]] = {}
        for fact in _facts(session, tuple_(FactRow.subject_id, FactRow.relation).in_(part)):
            versions.setdefault(fact.update.pair, []).append(fact)
        ruled = _verdicts(session, part)
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


def _verdicts(
    session: Session, pairs: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], dict[str, Verdict]]:
    where = tuple_(VerdictRow.subject_id, VerdictRow.relation).in_(pairs)
    found: dict[tuple[str, str], dict[str, Verdict]] = {}
    for row in session.scalars(select(VerdictRow).where(where)):
        verdict = Verdict(ruling=Ruling(row.ruling), why=row.why, who=row.who, at=row.at)
        found.setdefault((row.subject_id, row.relation), {})[row.object_id] = verdict
    return found


def settle_all(session: Session, judge: Judge, *, now: datetime, limit: int = DUE) -> int:
    """Let time pass: what becomes valid, has soaked or expires by now. The number of versions looked at, at most `limit`."""
    due = select(FactRow.subject_id, FactRow.relation).where(FactRow.due_at <= now).limit(limit)
    pairs = [(subject, relation) for subject, relation in session.execute(due)]
    settle(session, set(pairs), judge, now=now)
    return len(pairs)


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
        asked=row.asked,
        due_at=row.due_at,
        turn=row.turn,
    )


def _facts(
    session: Session, *where: Any, limit: int | None = None, order: Sequence[Any] = (FactRow.id,)
) -> list[Fact]:
    """Read as plain rows: half the time of mapped objects, and nothing to refresh afterwards."""
    query = select(FACTS).where(*where).order_by(*order).limit(limit)
    return [_fact(row) for row in session.execute(query)]


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
    where: list[Any] = [FactRow.status.in_(status)] if status else []
    where += [FactRow.relation == relation] if relation else []
    where += [FactRow.subject_id == subject] if subject else []
    where += [FactRow.channel == channel] if channel else []
    return _facts(session, *where, limit=limit)


def waiting(session: Session, status: FactStatus, *, limit: int) -> list[Fact]:
    """Facts of one status, those first whose turn comes first."""
    return _facts(session, FactRow.status == status, limit=limit, order=TURN)


def by_priority(session: Session, status: FactStatus) -> Iterator[Fact]:
    """All facts of one status, those first whose turn comes first, fetched some hundred at a time."""
    where, last = FactRow.status == status, None
    while True:
        after = tuple_(FactRow.turn, FactRow.id) > last if last else true()
        found = _facts(session, where, after, limit=TURNS, order=TURN)
        yield from found
        if len(found) < TURNS:
            return
        last = found[-1].turn, found[-1].id


def archival(session: Session, *, limit: int) -> list[Fact]:
    """Facts that ended without a successor, which no edit can write."""
    return _facts(session, FactRow.change == Change.ARCHIVAL, limit=limit)


def get_fact(session: Session, id_: str) -> Fact:
    """One version by its id or the unique start of it. Raises: NotFound."""
    found = _facts(session, FactRow.id >= id_, FactRow.id < f"{id_}g", limit=2) if id_ else []
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
    return _verdicts(session, [(subject, relation)]).get((subject, relation), {})


def facts_by_id(session: Session, ids: Iterable[str]) -> list[Fact]:
    """Some versions, by id."""
    return [
        fact
        for part in chunks(sorted(set(ids)), CHUNK)
        for fact in _facts(session, FactRow.id.in_(part))
    ]


def candidate_set(session: Session) -> list[Fact]:
    """The facts that the next release may hold: all that are current and not the base model's own, by id."""
    return list_facts(session, status=WRITTEN)


def previous(session: Session, facts: Sequence[Fact]) -> dict[str, Fact]:
    """What the base model says instead of each fact, by the fact's id: its pair's newest version of the base, if any."""
    found: dict[str, Fact] = {}
    by_pair: dict[tuple[str, str], list[str]] = {}
    for fact in facts:
        by_pair.setdefault(fact.update.pair, []).append(fact.id)
    for part in chunks(sorted(by_pair), PARAMETERS):
        where = tuple_(FactRow.subject_id, FactRow.relation).in_(part)
        own = _facts(session, where, FactRow.known.is_(True))
        for fact in sorted(own, key=lambda f: (f.update.valid_from or date.min, f.id)):
            found |= dict.fromkeys(by_pair[fact.update.pair], fact)
    return found


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
    """Decide about the values of some facts; what other claims of the same values say changes nothing. Raises: NotFound."""
    facts = [get_fact(session, id_) for id_ in ids]
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
    """Take facts back: as if they had never been ingested; what they superseded holds again. Raises: NotFound."""
    return rule(session, ids, Ruling.WITHDRAWN, judge, why=why, who=who, now=now)


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
    session: Session, answers: Mapping[str, str], judge: Judge, *, now: datetime
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
    asked = _facts(session, FactRow.asked != "")
    session.execute(update(FactRow).where(FactRow.asked != "").values(asked=""))
    settle(session, {fact.update.pair for fact in asked}, judge, now=now)
    return len(asked)


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


def counts(session: Session) -> dict[str, int]:
    """The number of fact versions by status."""
    found = session.execute(select(FactRow.status, func.count()).group_by(FactRow.status))
    return {status.value: 0 for status in FactStatus} | {row[0]: row[1] for row in found}


def claimed(session: Session, source: str, subject: str) -> list[Fact]:
    """What a source claims about a subject and has not taken back."""
    found = _facts(session, FactRow.subject_id == subject, FactRow.source == source)
    return [
        fact
        for fact in found
        if not fact.update.withdrawn
        and not any(n.relation == fact.relation and takes_back(n, fact) for n in found)
    ]
