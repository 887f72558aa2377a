"""What sources say, into the database: each claim once, a bad line set aside, memory that does not grow."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.ingest.parsing import BadLine, Line
from factd.store.model.facts import Fact, FactStatus, Provenance, Receipt, Terms, turn
from factd.store.queries.names import note_names
from factd.store.queries.settle import Judge, Move, settle
from factd.store.schema.facts import BadLineRow, FactRow

CHUNK = 1000  # lines looked up at once
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
    still_baked: tuple[str, ...] = ()  # facts that a source took back, and that the base still says

    def __add__(self, other: "IngestReport") -> "IngestReport":
        """Both together."""
        return IngestReport(
            lines=self.lines + other.lines,
            new=self.new + other.new,
            unchanged=self.unchanged + other.unchanged,
            pending=self.pending + other.pending,
            malformed=self.malformed + other.malformed,
            bad=(*self.bad, *other.bad)[:BAD_SHOWN],
            still_baked=(*self.still_baked, *other.still_baked)[:BAD_SHOWN],
        )


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
        gone = [m.fact for m in moves if m.to(FactStatus.WITHDRAWN) == 1 and m.fact.baked_in]
        still_baked = tuple(fact.id for fact in gone)
        found += replace(report, pending=pending, still_baked=still_baked)
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
