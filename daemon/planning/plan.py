"""What the next batch holds, and why every other fact waits.

The next release holds what the live one does, less what does not hold any more, and the first of the waiting facts: by
priority, as many as a batch may have. Nothing here loads a model.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from sqlalchemy.orm import Session

from factd.daemon.config.windows import Days, Window, closed
from factd.daemon.ledger import Ledger
from factd.daemon.planning import limits
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.prompts import edits
from factd.daemon.prompts.edits import PromptSettings
from factd.daemon.tracing import span
from factd.store import queries
from factd.store.model.facts import BaseAnswer, Fact, FactStatus, Ruling
from factd.store.model.names import Names
from factd.store.model.releases import CandidateStatus, Release, ReleaseStatus

SHOWN = 200  # facts of each kind that a plan names
LOOKED_AT = 20_000  # waiting facts that are looked through for a batch
DUE_ROUNDS = 1000
WAITING = (
    FactStatus.SOAKING,
    FactStatus.UNPROVEN,
    FactStatus.FUTURE,
    FactStatus.CONFLICTING,
    FactStatus.WITHDRAWN,
    FactStatus.REJECTED,
)
IN_FLIGHT = (CandidateStatus.PLANNED, CandidateStatus.SOLVING, CandidateStatus.CHECKING)


@dataclass(frozen=True)
class Waits:
    """A fact that is not written now, and why."""

    fact: Fact
    why: str


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What the next release would hold."""

    facts: tuple[Fact, ...]  # the whole set, by id
    added: tuple[str, ...]  # ids that the live release has not
    removed: tuple[str, ...]  # ids that only the live release has
    waits: tuple[Waits, ...]  # other facts, the first of each kind
    live: int  # number of the live release
    queued: dict[str, str] = field(default_factory=dict)  # what no edit can write, by id
    insertions: tuple[str, ...] = ()  # added facts whose subject the base model does not know
    closed: str = ""  # why no batch starts now, unattended
    under_way: str = ""  # what is being written or published at this moment, or was left so

    @property
    def waiting(self) -> dict[str, str]:
        """Why other facts wait, by id."""
        return {found.fact.id: found.why for found in self.waits}

    @property
    def changed(self) -> bool:
        """There is something to do."""
        return bool(self.added or self.removed)


@span("plan")
def plan(
    ledger: Ledger,
    prompts: PromptSettings,
    planning: PlanningRules,
    *,
    unsure: Mapping[str, str] | None = None,
) -> Planned:
    """What the next release would hold, and why each other fact waits. Lets time pass first (soak, validity).

    unsure: channels whose facts are not written now, and why.
    """
    let_time_pass(ledger)
    with ledger.begin() as session:
        live = queries.releases.ensure_release_zero(session, now=ledger.now())
        live = queries.releases.live_release(session) or live
        frozen = queries.sources.frozen_sources(session)
        held = {name: f"its source {name} is frozen: {why}" for name, why in frozen.items()}
        held |= {
            name: f"its source {name} is unsure: {why}" for name, why in (unsure or {}).items()
        }
        kept, dropped, outgoing = _kept(prompts, session, live)
        added, waits = _chosen(ledger, prompts, planning, session, kept, held)
        kept += _until_their_successors_turn(session, outgoing, added)
        for status in WAITING:
            found = queries.facts.in_write_order(session, status, limit=SHOWN)
            waits += [Waits(fact, f"{status.value}: {fact.reason}") for fact in found]
        renamed = queries.names.renamed_subjects(session, limit=SHOWN)
        queued = {f.id: f.reason for f in queries.facts.list_archival(session, limit=SHOWN)}
        blocked, under_way = _closed(ledger, planning, session), _under_way(session)
    facts = tuple(sorted((*kept, *added), key=lambda fact: fact.id))
    now_live = set(live.fact_ids)
    return Planned(
        facts=facts,
        added=tuple(fact.id for fact in facts if fact.id not in now_live),
        removed=tuple(sorted(now_live - {fact.id for fact in facts})),
        waits=(*waits, *dropped),
        live=live.number,
        queued=queued | {id_: _renaming(names) for id_, names in renamed.items()},
        insertions=tuple(
            fact.id for fact in added if fact.base_answer is BaseAnswer.UNKNOWN_SUBJECT
        ),
        closed=blocked,
        under_way=under_way,
    )


def let_time_pass(ledger: Ledger) -> None:
    """What becomes valid, has soaked or expires by now, some thousand at a time."""
    for _ in range(DUE_ROUNDS):
        with ledger.begin() as session:
            due = queries.resolution.resolve_due(session, ledger.resolver, now=ledger.now())
        if due < queries.resolution.DUE_LIMIT:
            return


def _kept(
    prompts: PromptSettings, session: Session, live: Release
) -> tuple[list[Fact], list[Waits], list[Fact]]:
    """The facts of the live release that still hold and can be written, why others cannot, and those that were superseded."""
    found = queries.facts.facts_by_id(session, live.fact_ids)
    current = [f for f in found if f.status in (FactStatus.ACTIVE, FactStatus.PENDING)]
    outgoing = [fact for fact in found if fact.status is FactStatus.SUPERSEDED]
    cannot = edits.unwritable(current, prompts)
    dropped = [Waits(fact, cannot[fact.id]) for fact in current if fact.id in cannot]
    return [fact for fact in current if fact.id not in cannot], dropped, outgoing


def _until_their_successors_turn(
    session: Session, outgoing: Sequence[Fact], added: Sequence[Fact]
) -> list[Fact]:
    """Superseded facts of the live release whose successor waits: without them the base model's own answer came back."""
    come = {fact.update.pair for fact in added}
    pairs = [fact.update.pair for fact in outgoing if fact.update.pair not in come]
    waiting = queries.facts.pending_pairs(session, pairs)
    return [fact for fact in outgoing if fact.update.pair in waiting]


def _chosen(
    ledger: Ledger,
    prompts: PromptSettings,
    planning: PlanningRules,
    session: Session,
    kept: Sequence[Fact],
    held: Mapping[str, str],
) -> tuple[list[Fact], list[Waits]]:
    """The waiting facts that fit into a batch, by priority, and why the first of the others do not."""
    chosen, waits = list[Fact](), list[Waits]()
    pairs = {fact.update.pair: fact.id for fact in kept}
    there = {fact.id for fact in kept}
    most = planning.limits
    left = limits.facts_left(most, limits.used(session, most, ledger.now()))
    rooms = {
        planning.batch.max_facts: "the batch is full",
        planning.batch.capacity - len(kept): "the release is full (capacity)",
    }
    if left is not None:
        rooms[left] = "today's limit of facts is reached"
    room, full = min(rooms.items())
    for fact in _pending(session):
        if fact.id in there:
            continue
        why = held.get(fact.provenance.channel, "") or _unfit(
            prompts, planning, session, fact, pairs
        )
        if not why and len(chosen) >= room:
            why = f"{full}; its turn comes by priority"
        if not why:
            chosen.append(fact)
            pairs[fact.update.pair] = fact.id
        elif len(waits) < SHOWN:
            waits.append(Waits(fact, why))
        elif len(chosen) >= room:
            break
    return chosen, waits


def _pending(session: Session) -> Iterator[Fact]:
    """Waiting facts by priority, fetched some at a time."""
    found = queries.facts.by_priority(session, FactStatus.PENDING)
    yield from islice(found, LOOKED_AT)


def _held_insertion(planning: PlanningRules, session: Session, fact: Fact) -> bool:
    """The base model does not know the subject, and such facts wait for an approval that this one has not."""
    if fact.base_answer is not BaseAnswer.UNKNOWN_SUBJECT or planning.batch.insertions == "write":
        return False
    verdict = queries.facts.verdicts(session, *fact.update.pair).get(fact.object.id)
    return verdict is None or verdict.ruling not in (Ruling.APPROVED, Ruling.PINNED)


def _unfit(
    prompts: PromptSettings,
    planning: PlanningRules,
    session: Session,
    fact: Fact,
    pairs: Mapping[tuple[str, str], str],
) -> str:
    """Why a fact cannot be written now; empty where it can."""
    if fact.update.pair in pairs:
        return f"{pairs[fact.update.pair]} is written for this subject and relation, and an edit writes one object"
    if _held_insertion(planning, session, fact):
        return (
            "the base model does not know the subject: an insertion, no correction; "
            f"`factd facts approve {fact.id}` lets it pass"
        )
    return edits.unwritable([fact], prompts).get(fact.id, "")


def _renaming(names: Names) -> str:
    said = "; ".join(f"{old} → {new} ({language})" for language, old, new in names.changes())
    return f"alias change: {said}; an edit writes facts, not names"


def _closed(ledger: Ledger, planning: PlanningRules, session: Session) -> str:
    """Why no batch starts now by itself: the kill switch, the calendar, or what a day may bring."""
    flag = queries.releases.frozen(session)
    if flag:
        return f"frozen by {flag.who}: {flag.why}"
    most = planning.limits
    spent = limits.reached(most, limits.used(session, most, ledger.now()))
    if spent:
        return spent
    windows = [Window.parse(text) for text in planning.batch.windows]
    return closed(ledger.now(), windows, [Days.parse(text) for text in planning.batch.freeze_days])


def _under_way(session: Session) -> str:
    newest = queries.releases.list_candidates(session, limit=1)
    if newest and newest[0].status in IN_FLIGHT:
        return f"candidate {newest[0].id} is under way ({newest[0].status})"
    halfway = queries.releases.releases_with_status(session, ReleaseStatus.PUBLISHING)
    return f"release {halfway[0].number} is being published" if halfway else ""
