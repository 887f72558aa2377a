"""Storing the claims of a source in the database.

Each claim is stored once, a bad line is set aside, and memory does not grow with the number of
lines.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from factd.store.database.chunks import chunks
from factd.store.ingest.parsing import BadLine, ParsedLine
from factd.store.model.facts import Fact, FactStatus, Provenance, Receipt, Terms, write_order
from factd.store.queries.names import save_names
from factd.store.queries.resolution import ConflictResolver, ResolutionChange, resolve_pairs
from factd.store.schema.facts import BadLineRow, FactRow

CHUNK = 1000  # lines looked up at once
BAD_SHOWN = 1000  # most bad lines in a report; the table holds all of them


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """What happened to the lines of a source."""

    lines: int = 0
    new: int = 0
    unchanged: int = 0
    pending: int = 0  # new claims that wait to be written
    malformed: int = 0  # lines that were set aside
    bad: tuple[BadLine, ...] = ()  # the first lines that were set aside, conflicts included
    still_baked: tuple[str, ...] = ()  # facts that the source took back and the base still says

    def __add__(self, other: "IngestReport") -> "IngestReport":
        """The report about both sets of lines."""
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
    lines: Iterable[ParsedLine | BadLine],
    resolver: ConflictResolver,
    *,
    receipt: Receipt,
    now: datetime,
    terms: Terms | None = None,
    known: bool = False,
) -> IngestReport:
    """Store the claims of a source and resolve the affected pairs.

    The same lines again change nothing. A bad line is set aside and does not stop the good ones.

    known: the base model holds these facts. They are never written, only stored and measured.
    """
    total, conflicts = IngestReport(), dict[str, BadLine]()
    context = _Context(
        resolver=resolver, terms=terms or Terms(), receipt=receipt, now=now, known=known
    )
    for chunk in chunks(lines, CHUNK):
        report, changes = _ingest_chunk(session, chunk, context)
        ours = [change for change in changes if context.ingested(change.fact)]
        pending = sum(change.net_change(FactStatus.PENDING) for change in ours)
        total += replace(report, pending=pending, still_baked=_withdrawn_but_baked(changes))
        for change in ours:
            conflicts.pop(change.fact.id, None)
            is_conflict = change.resolution.status is FactStatus.CONFLICTING
            if is_conflict and len(conflicts) < BAD_SHOWN:
                conflicts[change.fact.id] = _conflict(change)
    _save_bad_lines(session, receipt.file, tuple(conflicts.values()), now)
    ordered = sorted((*total.bad, *conflicts.values()), key=lambda line: line.number)
    return replace(total, bad=tuple(ordered))


def _withdrawn_but_baked(changes: Sequence[ResolutionChange]) -> tuple[str, ...]:
    withdrawn = [one.fact for one in changes if one.net_change(FactStatus.WITHDRAWN) == 1]
    return tuple(fact.id for fact in withdrawn if fact.baked_in)


@dataclass(frozen=True, kw_only=True)
class _Context:
    """What all lines of one ingest share."""

    resolver: ConflictResolver
    terms: Terms
    receipt: Receipt
    now: datetime
    known: bool

    def ingested(self, fact: Fact) -> bool:
        """Whether a fact came with this ingest."""
        return fact.observed_at == self.now and fact.provenance.file == self.receipt.file


def _conflict(change: ResolutionChange) -> BadLine:
    reason = f"conflict: {change.resolution.reason}"
    return BadLine(number=change.fact.provenance.line, reason=reason, excerpt=change.fact.id)


def _ingest_chunk(
    session: Session, chunk: Sequence[ParsedLine | BadLine], context: _Context
) -> tuple[IngestReport, list[ResolutionChange]]:
    bad = tuple(line for line in chunk if isinstance(line, BadLine))
    good = {line.update.id: line for line in chunk if isinstance(line, ParsedLine)}
    stored = set(session.scalars(select(FactRow.id).where(FactRow.id.in_(good))))
    new = [line for id_, line in good.items() if id_ not in stored]
    changes: list[ResolutionChange] = []
    if new:
        session.execute(insert(FactRow), [_row(line, context) for line in new])
        save_names(session, (line.update for line in new))
        pairs = {line.update.pair for line in new}
        changes = resolve_pairs(session, pairs, context.resolver, now=context.now)
    _save_bad_lines(session, context.receipt.file, bad, context.now)
    report = IngestReport(
        lines=len(chunk),
        new=len(new),
        unchanged=len(chunk) - len(bad) - len(new),
        malformed=len(bad),
        bad=bad[:BAD_SHOWN],
    )
    return report, changes


def _save_bad_lines(session: Session, file: str, bad: Sequence[BadLine], now: datetime) -> None:
    """Store bad lines, each once, however often its file or page is read."""
    for part in chunks(bad, CHUNK):
        where = (BadLineRow.file == file, BadLineRow.number.in_({line.number for line in part}))
        query = select(BadLineRow.number, BadLineRow.reason, BadLineRow.excerpt).where(*where)
        stored = {tuple(row) for row in session.execute(query)}
        rows = [
            {"file": file, "number": b.number, "reason": b.reason, "excerpt": b.excerpt, "at": now}
            for b in part
            if (b.number, b.reason, b.excerpt) not in stored
        ]
        if rows:
            session.execute(insert(BadLineRow), rows)


def _row(line: ParsedLine, context: _Context) -> dict[str, Any]:
    claim, now = line.update, context.now
    data = claim.as_json()
    provenance = Provenance.of(claim, line.number, context.terms, context.receipt)
    return {
        "id": claim.id,
        "source": claim.source,
        "revision": claim.revision,
        "event_time": claim.event_time,
        "observed_at": now,
        "subject_id": claim.subject.id,
        "subject": data["subject"],
        "relation": claim.relation,
        "object_id": claim.object.id,
        "object": data["object"],
        "valid_from": claim.valid_from,
        "valid_to": claim.valid_to,
        "known": context.known,
        "status": FactStatus.SUPERSEDED,  # resolve_pairs sets the status in the same transaction
        "reason": "",
        "changed_at": now,
        "channel": provenance.channel,
        "trust": provenance.trust,
        "licence": provenance.licence,
        "file": provenance.file,
        "line": provenance.line,
        "retrieved_at": provenance.retrieved_at,
        "payload_hash": provenance.payload_hash,
        "withdrawn": claim.withdrawn,
        "reference_count": claim.references,
        "risk": claim.risk,
        "demand": claim.demand,
        "soak_until": provenance.soak_until,
        "needs_sources": provenance.needs_sources,
        "hold": provenance.hold,
        "turn": write_order(claim, context.terms, now),
    }
