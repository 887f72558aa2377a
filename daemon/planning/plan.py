"""What the next batch holds, and why every other fact waits.

The next release holds the facts of the live release that still hold, and the first of the waiting
facts by priority, as many as a batch may have. Nothing here loads a model.

An edit calls `plan` once. What is set aside or learnt afterwards changes that plan through
`narrowed`, which looks at the facts of the plan alone and not at the queue.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from sqlalchemy.orm import Session

from factd.daemon.config.windows import FrozenDays, Window, why_closed
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
DUE_ROUNDS = 1000  # batches of due facts, at most
WAITING = (
    FactStatus.SOAKING,
    FactStatus.UNPROVEN,
    FactStatus.FUTURE,
    FactStatus.CONFLICTING,
    FactStatus.WITHDRAWN,
    FactStatus.REJECTED,
)
CURRENT = (FactStatus.ACTIVE, FactStatus.PENDING)  # they hold
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
    added: tuple[str, ...]  # ids that the live release does not hold
    removed: tuple[str, ...]  # ids that only the live release holds
    waits: tuple[Waits, ...]  # other facts, the first of each kind
    live: int  # number of the live release
    reserve: tuple[str, ...] = ()  # ids that come next, by priority, when the batch has room
    held: Mapping[str, str] = field(default_factory=dict)  # channels that must wait, and why
    queued: dict[str, str] = field(default_factory=dict)  # what no edit can write, by id
    insertions: tuple[str, ...] = ()  # added facts whose subject the base model does not know
    closed: str = ""  # why no unattended batch starts now; empty if one may start
    under_way: str = ""  # what is being written or published now, or was left unfinished

    @property
    def waiting(self) -> dict[str, str]:
        """Why other facts wait, by id."""
        return {waits.fact.id: waits.why for waits in self.waits}

    @property
    def changed(self) -> bool:
        """The next release would differ from the live one."""
        return bool(self.added or self.removed)

    @property
    def new(self) -> list[Fact]:
        """The added facts, by id."""
        return [fact for fact in self.facts if fact.id in self.added]

    @property
    def earlier(self) -> list[Fact]:
        """The facts that the live release holds too, by id."""
        return [fact for fact in self.facts if fact.id not in self.added]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The facts of the next release, put together from the live release and a queue."""

    kept: Sequence[Fact]
    added: Sequence[Fact]
    reserve: Sequence[str]
    waits: Sequence[Waits]


def let_time_pass(ledger: Ledger) -> None:
    """Resolve the facts that became valid, have soaked, or expired by now, in batches."""
    for _ in range(DUE_ROUNDS):
        with ledger.begin() as session:
            due = queries.resolution.resolve_due(session, ledger.resolver, now=ledger.now())
        if due < queries.resolution.DUE_LIMIT:
            return


def has_work(ledger: Ledger, than: Release | None = None) -> bool:
    """Whether a fact waits that a release does not hold, or a fact of the release no longer holds.

    than: the release; by default the live one. The daemon asks this cheap question before it wakes
    a worker. The worker's plan then says whether anything can be written.
    """
    with ledger.read() as session:
        release = than or queries.releases.live_release(session)
        ids = set(release.fact_ids) if release else set[str]()
        current = [f for f in queries.facts.facts_by_id(session, ids) if f.status in CURRENT]
        return len(current) < len(ids) or any(fact.id not in ids for fact in _pending(session))


def closed_now(ledger: Ledger, planning: PlanningRules) -> str:
    """Why no unattended batch starts now; empty if one may start."""
    with ledger.read() as session:
        return _closed(ledger, planning, session)


@span("plan")
def plan(ledger: Ledger, prompts: PromptSettings, planning: PlanningRules) -> Planned:
    """What the next release would hold, and why each other fact waits."""
    with ledger.begin() as session:
        live = queries.releases.ensure_release_zero(session, now=ledger.now())
        live = queries.releases.live_release(session) or live
        frozen = queries.sources.frozen_sources(session)
        held = {name: f"its source {name} is frozen: {why}" for name, why in frozen.items()}
        chosen = _chosen(ledger, prompts, planning, session, live, _pending(session), held)
        waits = list(chosen.waits)
        for status in WAITING:
            facts = queries.facts.in_write_order(session, status, limit=SHOWN)
            waits += [Waits(fact, f"{status.value}: {fact.reason}") for fact in facts]
        renamed = queries.names.renamed_subjects(session, limit=SHOWN)
        queued = {f.id: f.reason for f in queries.facts.list_archival(session, limit=SHOWN)}
        made = Planned(
            facts=(),
            added=(),
            removed=(),
            waits=tuple(waits),
            live=live.number,
            held=held,
            queued=queued | {id_: _renaming(names) for id_, names in renamed.items()},
            closed=_closed(ledger, planning, session),
            under_way=_under_way(session),
        )
    return _with(made, live, chosen)


def narrowed(
    ledger: Ledger,
    prompts: PromptSettings,
    planning: PlanningRules,
    planned: Planned,
    *,
    unsure: Mapping[str, str] | None = None,
    refill: bool = True,
) -> Planned:
    """A plan after some of its facts were set aside or changed.

    Facts that no longer hold are gone and what they had replaced is back.
    unsure: channels whose facts are not written now, and why. refill: the reserve, and newer claims
    about the same subjects and relations, fill the room that became free.
    """
    held = {name: f"its source {name} is unsure: {why}" for name, why in (unsure or {}).items()}
    held = {**planned.held, **held}
    with ledger.read() as session:
        live = queries.releases.release(session, planned.live)
        queue = _queue_of(session, planned, refill=refill)
        chosen = _chosen(ledger, prompts, planning, session, live, queue, held)
    settled = {waits.fact.id for waits in chosen.waits} | {fact.id for fact in chosen.added}
    waits = [waits for waits in planned.waits if waits.fact.id not in settled]
    return _with(replace(planned, held=held, waits=(*chosen.waits, *waits)), live, chosen)


def _queue_of(session: Session, planned: Planned, *, refill: bool) -> list[Fact]:
    """The facts that may be added to a narrowed plan, in their order."""
    ids = (*planned.added, *planned.reserve) if refill else planned.added
    seen = queries.facts.facts_by_id(session, ids)
    if refill:
        seen += queries.facts.pending_of(session, [fact.update.pair for fact in seen])
    waiting = {fact.id: fact for fact in seen if fact.status is FactStatus.PENDING}
    return sorted(waiting.values(), key=lambda fact: (fact.write_order, fact.id))


def _with(planned: Planned, live: Release, chosen: Chosen) -> Planned:
    """A plan with these facts."""
    facts = tuple(sorted((*chosen.kept, *chosen.added), key=lambda fact: fact.id))
    now_live = set(live.fact_ids)
    return replace(
        planned,
        facts=facts,
        added=tuple(fact.id for fact in facts if fact.id not in now_live),
        removed=tuple(sorted(now_live - {fact.id for fact in facts})),
        reserve=tuple(chosen.reserve),
        insertions=tuple(f.id for f in chosen.added if f.base_answer is BaseAnswer.UNKNOWN_SUBJECT),
    )


def _chosen(
    ledger: Ledger,
    prompts: PromptSettings,
    planning: PlanningRules,
    session: Session,
    live: Release,
    queue: Iterable[Fact],
    held: Mapping[str, str],
) -> Chosen:
    """The live release's facts that still hold, and the facts of a queue that fit in the batch."""
    kept, dropped, outgoing = _kept(prompts, session, live)
    added, reserve, waits = _added(ledger, prompts, planning, session, kept, queue, held)
    kept += _until_their_successors_turn(session, outgoing, added)
    return Chosen(kept=kept, added=added, reserve=reserve, waits=(*waits, *dropped))


def _kept(
    prompts: PromptSettings, session: Session, live: Release
) -> tuple[list[Fact], list[Waits], list[Fact]]:
    """The live release's facts: the kept ones, the unwritable ones, and the superseded ones."""
    facts = queries.facts.facts_by_id(session, live.fact_ids)
    current = [fact for fact in facts if fact.status in CURRENT]
    outgoing = [fact for fact in facts if fact.status is FactStatus.SUPERSEDED]
    cannot = edits.why_unwritable(current, prompts)
    dropped = [Waits(fact, cannot[fact.id]) for fact in current if fact.id in cannot]
    return [fact for fact in current if fact.id not in cannot], dropped, outgoing


def _until_their_successors_turn(
    session: Session, outgoing: Sequence[Fact], added: Sequence[Fact]
) -> list[Fact]:
    """The superseded facts of the live release whose successor waits.

    Without them the base model's own answer would come back until the successor is written.
    """
    replaced = {fact.update.pair for fact in added}
    pairs = [fact.update.pair for fact in outgoing if fact.update.pair not in replaced]
    waiting = queries.facts.pending_pairs(session, pairs)
    return [fact for fact in outgoing if fact.update.pair in waiting]


def _added(
    ledger: Ledger,
    prompts: PromptSettings,
    planning: PlanningRules,
    session: Session,
    kept: Sequence[Fact],
    queue: Iterable[Fact],
    held: Mapping[str, str],
) -> tuple[list[Fact], list[str], list[Waits]]:
    """The facts of a queue that fit into a batch, the ids that come next, and why others wait."""
    added, reserve, waits = list[Fact](), list[str](), list[Waits]()
    pairs = {fact.update.pair: fact.id for fact in kept}
    there = {fact.id for fact in kept}
    room, full = _room(ledger, planning, session, len(kept))
    for fact in queue:
        if fact.id in there:
            continue
        why = held.get(fact.provenance.channel, "") or _unfit(
            prompts, planning, session, fact, pairs
        )
        if not why and len(added) < room:
            added.append(fact)
            pairs[fact.update.pair] = fact.id
            continue
        if not why:
            reserve.append(fact.id)
        if len(waits) < SHOWN:
            waits.append(Waits(fact, why or f"{full}; its turn comes by priority"))
        elif len(added) >= room:
            break
    return added, reserve, waits


def _room(ledger: Ledger, planning: PlanningRules, session: Session, kept: int) -> tuple[int, str]:
    """How many facts may be added, and what is full beyond that number."""
    table = planning.limits
    left = limits.facts_left(table, limits.usage_today(session, table, ledger.now()))
    rooms = {
        planning.batch.max_facts: "the batch is full",
        planning.batch.capacity - kept: "the release is full (capacity)",
    }
    if left is not None:
        rooms[left] = "today's limit of facts is reached"
    return min(rooms.items())


def _pending(session: Session) -> Iterator[Fact]:
    """Waiting facts by priority, fetched some at a time."""
    yield from islice(queries.facts.by_priority(session, FactStatus.PENDING), LOOKED_AT)


def _held_insertion(planning: PlanningRules, session: Session, fact: Fact) -> bool:
    """Whether a fact about an unknown subject waits for an approval that it does not have."""
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
    """Why a fact cannot be written now. Empty if it can."""
    if fact.update.pair in pairs:
        other = pairs[fact.update.pair]
        return f"{other} is written for this subject and relation, and an edit writes one object"
    if _held_insertion(planning, session, fact):
        return (
            "the base model does not know the subject: an insertion, no correction; "
            f"`factd facts approve {fact.id}` lets it pass"
        )
    return edits.why_unwritable([fact], prompts).get(fact.id, "")


def _renaming(names: Names) -> str:
    changes = "; ".join(f"{old} → {new} ({language})" for language, old, new in names.changes())
    return f"alias change: {changes}; an edit writes facts, not names"


def _closed(ledger: Ledger, planning: PlanningRules, session: Session) -> str:
    """Why no unattended batch starts now: the kill switch, the calendar, or a limit of the day."""
    flag = queries.releases.frozen(session)
    if flag:
        return f"frozen by {flag.who}: {flag.why}"
    table = planning.limits
    reached = limits.reached_limit(table, limits.usage_today(session, table, ledger.now()))
    if reached:
        return reached
    windows = [Window.parse(text) for text in planning.batch.windows]
    return why_closed(
        ledger.now(), windows, [FrozenDays.parse(text) for text in planning.batch.freeze_days]
    )


def _under_way(session: Session) -> str:
    newest = queries.releases.list_candidates(session, limit=1)
    if newest and newest[0].status in IN_FLIGHT:
        return f"candidate {newest[0].id} is under way ({newest[0].status})"
    halfway = queries.releases.releases_with_status(session, ReleaseStatus.PUBLISHING)
    return f"release {halfway[0].number} is being published" if halfway else ""
