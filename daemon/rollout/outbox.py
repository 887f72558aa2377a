"""Bringing the live release to the servers: hand-overs are rows, made where they are missing and tried until they succeed.

One process hands over at a time (the lease `servers`); what another left half done is done again. Servers are seen to side by
side, and of each one hand-over at a time, in the order of their rows. A rollback takes the lease over from whoever has it.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy.orm import Session

from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import BadConfig, HandoverFailed
from factd.daemon.fleet import Fleet
from factd.daemon.leases import HeldLease
from factd.daemon.ledger import Ledger
from factd.daemon.log import bound, carried, log
from factd.daemon.paths import Paths
from factd.daemon.rollout import strategy
from factd.daemon.rollout.handover import Order, Outcome, hand_over
from factd.daemon.rollout.strategy import Rollout, Standing
from factd.daemon.rollout.targets import name_of, served_named, target_of
from factd.daemon.servers import Server
from factd.daemon.tracing import span
from factd.store import operations, queries
from factd.store.errors import NotFound, Overtaken, StaleState
from factd.store.model.handovers import Handover, HandoverStatus, ServerState
from factd.store.model.releases import Release

if TYPE_CHECKING:
    from factd.daemon.plugins import Served

SIDE_BY_SIDE = 16  # servers
ROUNDS = 4  # of one turn: canaries, the rest, who goes back, and what they left
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 900.0  # after an attempt that failed; doubles
LONGEST_WISH_SECONDS = 3600.0  # of a server that names a time
BROKE_OFF = "every attempt ended with its process"


def never() -> bool:
    """Nobody waits for the end."""
    return False


@dataclass(frozen=True, kw_only=True)
class Shift:
    """One process's turn at the servers."""

    ledger: Ledger
    paths: Paths
    versions: Versions
    fleet: Fleet
    held: HeldLease
    stopping: Callable[[], bool]

    def alive(self) -> None:
        """Raises: Overtaken: another process hands over now, or this one is to stop."""
        self.held.check()
        if self.stopping():
            raise Overtaken("factd stops; the hand-over is made again at its next start")


def turn(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    fleet: Fleet,
    *,
    seize: bool = False,
    stopping: Callable[[], bool] = never,
) -> tuple[Handover, ...]:
    """Hand over what is due: the hand-overs that were tried, as they stand afterwards.

    seize: take over from whoever does it now. Raises: Busy: somebody does, and is alive. StoreError.
    """
    if not fleet.servers:
        return ()
    arrange(ledger, versions, fleet)
    if not _left(ledger):
        return ()
    held = ledger.lease(operations.leases.SERVERS, seize=seize)
    try:
        shift = Shift(
            ledger=ledger, paths=paths, versions=versions, fleet=fleet, held=held, stopping=stopping
        )
        with ledger.begin() as session:
            held.confirm(session)
            operations.handovers.requeue_interrupted(session, now=ledger.now())
        return _rounds(shift)
    finally:
        held.give_back()


def _left(ledger: Ledger) -> bool:
    """Something is due, or was left half done."""
    with ledger.read() as session:
        open_ = operations.handovers.list_open(session)
    now = ledger.now()
    return any(h.status is HandoverStatus.SENDING or _is_due(h, now) for h in open_)


def _is_due(one: Handover, now: datetime) -> bool:
    return one.not_before is None or one.not_before <= now


def _rounds(shift: Shift) -> tuple[Handover, ...]:
    tried = dict[int, Handover]()
    for _ in range(ROUNDS):
        with shift.ledger.read() as session:
            due = operations.handovers.due(session, now=shift.ledger.now())
        mine = [one for one in due if one.server in shift.fleet.servers]
        if not mine or shift.stopping():
            break
        with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE, thread_name_prefix="servers") as pool:
            for one in pool.map(carried(partial(_attempt, shift)), mine):
                tried[one.id] = one
        arrange(shift.ledger, shift.versions, shift.fleet)
    return tuple(tried.values())


def arrange(
    ledger: Ledger, versions: Versions, fleet: Fleet, session: Session | None = None
) -> int:
    """Make the rows that are missing for the live release, in a transaction or in one of their own; how many."""
    if session is None:
        with ledger.read() as look:
            if not _steps(ledger, versions, fleet, look):
                return 0
        with ledger.begin() as own:
            return arrange(ledger, versions, fleet, own)
    found = _steps(ledger, versions, fleet, session)
    for step in found:
        if step.supersedes is not None:
            after = HandoverStatus.SUPERSEDED
            operations.handovers.move(session, step.supersedes, after, now=ledger.now())
        operations.handovers.add(session, step.server, step.release, why=step.why, now=ledger.now())
        log.info("hand-over due", server=step.server, release=step.release, why=step.why)
    return len(found)


def _steps(
    ledger: Ledger, versions: Versions, fleet: Fleet, session: Session
) -> tuple[strategy.Step, ...]:
    now = rollout_of(fleet, session)
    if now is None:
        return ()
    live = queries.releases.release(session, now.release)
    found = standings(fleet, session, live)
    numbers = {now.release, *(one.before for one in found if one.before is not None)}
    names = {number: name for number in numbers if (name := name_of(versions, number))}
    return strategy.steps(found, replace(now, names=names), ledger.now())


def rollout_of(fleet: Fleet, session: Session) -> Rollout | None:
    """What decides who gets the live release now, without the names of versions; None: nothing is live."""
    live = queries.releases.live_release(session)
    if live is None or live.live_at is None:
        return None
    return Rollout(
        release=live.number,
        live_at=live.live_at,
        goes_back=queries.releases.highest_live_number(session) > live.number,
        frozen=queries.releases.frozen(session) is not None,
        soak=timedelta(seconds=fleet.table.soak_seconds),
        first_done=operations.handovers.first_done_at(session, live.number),
    )


def standings(fleet: Fleet, session: Session, live: Release) -> tuple[Standing, ...]:
    """How each configured server stands towards the live release."""
    served = fleet.servers
    flagged = [name for name, one in served.items() if one.settings.canary]
    first = strategy.canaries(served, flagged, fleet.table.canary_share)
    states = operations.handovers.server_states(session)
    return tuple(
        _standing(session, n, live, canary=n in first, state=states.get(n)) for n in served
    )


def _standing(
    session: Session, name: str, live: Release, *, canary: bool, state: ServerState | None
) -> Standing:
    before = operations.handovers.last_done(session, name, but=live.number)
    return Standing(
        name=name,
        canary=canary,
        state=state,
        newest=operations.handovers.newest(session, name),
        tried=operations.handovers.newest_of_release(session, name, live.number),
        before=before.release if before else None,
    )


def order_of(shift: Shift, served: "Served", one: Handover) -> Order:
    """What a server is told, and what it is told where that fails. Raises: HandoverFailed."""
    with shift.ledger.read() as session:
        state = operations.handovers.server_states(session).get(one.server)
        before = operations.handovers.last_done(session, one.server, but=one.release)
    known = state.release if state and state.release != one.release else None
    number = known if known is not None else before.release if before else 0
    back = None
    if number != one.release and shift.versions.has(number):
        back = target_of(shift.ledger, shift.paths, shift.versions, served, number, one.release)
    to = target_of(shift.ledger, shift.paths, shift.versions, served, one.release, number)
    return Order(to=to, back=back, tolerance=served.settings.tolerance, alive=shift.alive)


def _attempt(shift: Shift, seen: Handover) -> Handover:
    """One attempt and its record; counted before it is made, so that one that kills its process is given up in the end."""
    most = shift.fleet.table.attempts
    with shift.ledger.begin() as session:
        shift.held.confirm(session)
        one = operations.handovers.start_attempt(session, seen, now=shift.ledger.now())
    about: dict[str, Any] = {"server": one.server, "release": one.release, "attempt": one.attempts}
    with span("hand over", **about), bound(**about):
        started = time.monotonic()
        gave_up = Outcome(done=False, why=BROKE_OFF)
        outcome = _outcome(shift, one) if one.attempts <= most else gave_up
        return _recorded(shift, one, outcome, time.monotonic() - started)


def _outcome(shift: Shift, one: Handover) -> Outcome:
    served = shift.fleet.servers[one.server]
    server: Server | None = None
    try:
        order = order_of(shift, served, one)
        server = served.connect(served.settings)
        return hand_over(server, order)
    except (HandoverFailed, BadConfig) as error:
        return Outcome(done=False, why=str(error), transient=True)
    finally:
        if server is not None:
            server.close()


def _recorded(shift: Shift, one: Handover, outcome: Outcome, seconds: float) -> Handover:
    now = shift.ledger.now()
    with shift.ledger.read() as session:
        live = queries.releases.live_release(session)
    back = live is not None and live.number != one.release  # nothing better is left: try on
    hope = outcome.transient or back
    again = not outcome.done and hope and one.attempts < shift.fleet.table.attempts
    after = HandoverStatus.DONE if outcome.done else HandoverStatus.FAILED
    values = {
        "error": outcome.why,
        "restored": outcome.restored,
        "detail": {"asked": outcome.asked, "seconds": round(seconds, 3)},
        "not_before": now + timedelta(seconds=wait_seconds(one.attempts, outcome.retry_seconds)),
    }
    with shift.ledger.begin() as session:
        shift.held.confirm(session)
        status = HandoverStatus.WAITING if again else after
        operations.handovers.move(session, one, status, now=now, **values)
        operations.handovers.save_server_state(
            session, _state(shift.ledger, shift.versions, session, one, outcome)
        )
        found = operations.handovers.get(session, one.id)
    level = log.info if outcome.done else log.error
    level("handed over" if outcome.done else "hand-over failed", again=again, why=outcome.why)
    return found


def _state(
    ledger: Ledger, versions: Versions, session: Session, one: Handover, outcome: Outcome
) -> ServerState:
    """How the server stands after an attempt."""
    old = operations.handovers.server_states(session).get(one.server) or ServerState(
        name=one.server, release=None, version="", loaded=(), seen_at=None, error=""
    )
    if outcome.done:
        loaded = outcome.report.loaded if outcome.report else ()
        version = name_of(versions, one.release)
        return replace(
            old, release=one.release, version=version, loaded=loaded, seen_at=ledger.now(), error=""
        )
    if outcome.back is not None:
        back = outcome.back
        return replace(old, release=back.number, version=back.name, error=outcome.why)
    if outcome.restored is False:
        return replace(old, release=None, version="", error=outcome.why)
    return replace(old, error=outcome.why)


def wait_seconds(attempts: int, wish: float | None = None) -> float:
    """How long the next attempt waits after so many that failed; a server's own wish counts where it is longer."""
    own = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * float(2 ** min(attempts - 1, 10)))
    return max(own, min(wish or 0.0, LONGEST_WISH_SECONDS))


def retry(ledger: Ledger, fleet: Fleet, name: str, *, who: str, why: str) -> Handover:
    """Give a server the live release again, whatever came of it before. Raises: NotFound."""
    served_named(fleet, name)
    with ledger.begin() as session:
        live = queries.releases.live_release(session)
        if live is None:
            raise NotFound("no release is live; there is nothing to hand over")
        newest, now = operations.handovers.newest(session, name), ledger.now()
        if newest is not None and newest.status is HandoverStatus.WAITING:
            operations.handovers.move(session, newest, HandoverStatus.SUPERSEDED, now=now)
        if newest is not None and newest.status is HandoverStatus.SENDING:
            raise StaleState(f"a hand-over to {name} is on its way; try again when it has ended")
        queries.releases.log_action(
            session, who=who, what=f"servers retry {name}", why=why, now=now
        )
        return operations.handovers.add(session, name, live.number, why=f"{who}: {why}", now=now)
