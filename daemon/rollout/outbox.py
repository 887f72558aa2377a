"""The outbox: hand-overs are rows in the database, which are tried until they are done.

One process hands over at a time (the lease `servers`). A hand-over that another process left
unfinished is made again. Servers are handled in parallel, and for each server one hand-over at a
time, in the order of the rows. A rollback takes the lease from its holder.
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
from factd.daemon.rollout.handover import HandoverOrder, HandoverOutcome, hand_over
from factd.daemon.rollout.strategy import Rollout, ServerProgress
from factd.daemon.rollout.targets import name_of, served_named, target_of
from factd.daemon.servers import Server
from factd.daemon.tracing import span
from factd.store import operations, queries
from factd.store.errors import NotFound, Overtaken, StaleState
from factd.store.model.handovers import Handover, HandoverStatus, ServerState
from factd.store.model.releases import Release

if TYPE_CHECKING:
    from factd.daemon.plugins import ConfiguredServer

SIDE_BY_SIDE = 16  # servers that are handled at the same time
ROUNDS = 4  # of one call: canaries, the others, servers that go back, and the remaining ones
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 900.0  # after a failed attempt. Doubles each time
LONGEST_REQUESTED_WAIT_SECONDS = 3600.0  # that a server may ask for
PROCESS_ENDED = "every attempt ended with its process"


def never() -> bool:
    """The default of `stopping`: the process is not asked to stop."""
    return False


@dataclass(frozen=True, kw_only=True)
class HandoverSession:
    """What one process needs while it holds the lease `servers`."""

    ledger: Ledger
    paths: Paths
    versions: Versions
    fleet: Fleet
    held: HeldLease
    stopping: Callable[[], bool]

    def alive(self) -> None:
        """Raises: Overtaken: another process hands over now, or this one must stop."""
        self.held.check()
        if self.stopping():
            raise Overtaken("factd stops; the hand-over is made again at its next start")


def hand_over_due(
    ledger: Ledger,
    paths: Paths,
    versions: Versions,
    fleet: Fleet,
    *,
    seize: bool = False,
    stopping: Callable[[], bool] = never,
) -> tuple[Handover, ...]:
    """Do the hand-overs that are due, and return the tried hand-overs in their new state.

    seize: take the lease from another process. Raises: Busy: another process hands over.
    StoreError.
    """
    if not fleet.servers:
        return ()
    plan_handovers(ledger, versions, fleet)
    if not _is_work_left(ledger):
        return ()
    held = ledger.lease(operations.leases.SERVERS, seize=seize)
    try:
        run = HandoverSession(
            ledger=ledger, paths=paths, versions=versions, fleet=fleet, held=held, stopping=stopping
        )
        with ledger.begin() as session:
            held.confirm(session)
            operations.handovers.requeue_interrupted(session, now=ledger.now())
        return _rounds(run)
    finally:
        held.give_back()


def _is_work_left(ledger: Ledger) -> bool:
    """A hand-over is due, or was left unfinished."""
    with ledger.read() as session:
        open_ = operations.handovers.list_open(session)
    now = ledger.now()
    return any(h.status is HandoverStatus.SENDING or _is_due(h, now) for h in open_)


def _is_due(one: Handover, now: datetime) -> bool:
    return one.not_before is None or one.not_before <= now


def _rounds(run: HandoverSession) -> tuple[Handover, ...]:
    tried = dict[int, Handover]()
    for _ in range(ROUNDS):
        with run.ledger.read() as session:
            due = operations.handovers.due(session, now=run.ledger.now())
        mine = [one for one in due if one.server in run.fleet.servers]
        if not mine or run.stopping():
            break
        with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE, thread_name_prefix="servers") as pool:
            for one in pool.map(carried(partial(_attempt, run)), mine):
                tried[one.id] = one
        plan_handovers(run.ledger, run.versions, run.fleet)
    return tuple(tried.values())


def plan_handovers(
    ledger: Ledger, versions: Versions, fleet: Fleet, session: Session | None = None
) -> int:
    """Add the rows that are missing for the live release. Returns their number.

    session: the transaction to use. None: a new one, opened only if rows are missing.
    """
    if session is None:
        with ledger.read() as reading:
            if not _missing(ledger, versions, fleet, reading):
                return 0
        with ledger.begin() as own:
            return plan_handovers(ledger, versions, fleet, own)
    missing = _missing(ledger, versions, fleet, session)
    for step in missing:
        if step.supersedes is not None:
            after = HandoverStatus.SUPERSEDED
            operations.handovers.move(session, step.supersedes, after, now=ledger.now())
        operations.handovers.add(session, step.server, step.release, why=step.why, now=ledger.now())
        log.info("hand-over due", server=step.server, release=step.release, why=step.why)
    return len(missing)


def _missing(
    ledger: Ledger, versions: Versions, fleet: Fleet, session: Session
) -> tuple[strategy.PlannedHandover, ...]:
    now = rollout_of(fleet, session)
    if now is None:
        return ()
    live = queries.releases.release(session, now.release)
    servers = progress_of_servers(fleet, session, live)
    numbers = {now.release, *(one.before for one in servers if one.before is not None)}
    names = {number: name for number in numbers if (name := name_of(versions, number))}
    return strategy.planned_handovers(servers, replace(now, names=names), ledger.now())


def rollout_of(fleet: Fleet, session: Session) -> Rollout | None:
    """The facts that decide which server gets the live release now. None: no release is live.

    The names of versions are not filled in.
    """
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


def progress_of_servers(
    fleet: Fleet, session: Session, live: Release
) -> tuple[ServerProgress, ...]:
    """For each configured server, how far it is with the live release."""
    served = fleet.servers
    flagged = [name for name, one in served.items() if one.settings.canary]
    first = strategy.canaries(served, flagged, fleet.table.canary_share)
    states = operations.handovers.server_states(session)
    return tuple(
        _progress_of(session, n, live, canary=n in first, state=states.get(n)) for n in served
    )


def _progress_of(
    session: Session, name: str, live: Release, *, canary: bool, state: ServerState | None
) -> ServerProgress:
    before = operations.handovers.last_done(session, name, but=live.number)
    return ServerProgress(
        name=name,
        canary=canary,
        state=state,
        newest=operations.handovers.newest(session, name),
        tried=operations.handovers.newest_of_release(session, name, live.number),
        before=before.release if before else None,
    )


def order_of(run: HandoverSession, served: "ConfiguredServer", one: Handover) -> HandoverOrder:
    """The order for a hand-over: what the server gets, and gets back. Raises: HandoverFailed."""
    with run.ledger.read() as session:
        state = operations.handovers.server_states(session).get(one.server)
        before = operations.handovers.last_done(session, one.server, but=one.release)
    known = state.release if state and state.release != one.release else None
    number = known if known is not None else before.release if before else 0
    back = None
    if number != one.release and run.versions.has(number):
        back = target_of(run.ledger, run.paths, run.versions, served, number, one.release)
    to = target_of(run.ledger, run.paths, run.versions, served, one.release, number)
    return HandoverOrder(to=to, back=back, tolerance=served.settings.tolerance, alive=run.alive)


def _attempt(run: HandoverSession, seen: Handover) -> Handover:
    """Make one attempt and record it.

    It is counted first, so that a hand-over that kills its process every time is given up.
    """
    most = run.fleet.table.attempts
    with run.ledger.begin() as session:
        run.held.confirm(session)
        one = operations.handovers.start_attempt(session, seen, now=run.ledger.now())
    about: dict[str, Any] = {"server": one.server, "release": one.release, "attempt": one.attempts}
    with span("hand over", **about), bound(**about):
        started = time.monotonic()
        gave_up = HandoverOutcome(done=False, why=PROCESS_ENDED)
        outcome = _outcome(run, one) if one.attempts <= most else gave_up
        return _recorded(run, one, outcome, time.monotonic() - started)


def _outcome(run: HandoverSession, one: Handover) -> HandoverOutcome:
    served = run.fleet.servers[one.server]
    server: Server | None = None
    try:
        order = order_of(run, served, one)
        server = served.connect(served.settings)
        return hand_over(server, order)
    except (HandoverFailed, BadConfig) as error:
        return HandoverOutcome(done=False, why=str(error), transient=True)
    finally:
        if server is not None:
            server.close()


def _recorded(
    run: HandoverSession, one: Handover, outcome: HandoverOutcome, seconds: float
) -> Handover:
    now = run.ledger.now()
    with run.ledger.read() as session:
        live = queries.releases.live_release(session)
    back = (
        live is not None and live.number != one.release
    )  # going back: nothing better is left, so try again
    may_succeed = outcome.transient or back
    again = not outcome.done and may_succeed and one.attempts < run.fleet.table.attempts
    after = HandoverStatus.DONE if outcome.done else HandoverStatus.FAILED
    values = {
        "error": outcome.why,
        "restored": outcome.restored,
        "detail": {"asked": outcome.asked, "seconds": round(seconds, 3)},
        "not_before": now + timedelta(seconds=wait_seconds(one.attempts, outcome.retry_seconds)),
    }
    with run.ledger.begin() as session:
        run.held.confirm(session)
        status = HandoverStatus.WAITING if again else after
        operations.handovers.move(session, one, status, now=now, **values)
        operations.handovers.save_server_state(
            session, _state(run.ledger, run.versions, session, one, outcome)
        )
        recorded = operations.handovers.get(session, one.id)
    level = log.info if outcome.done else log.error
    level("handed over" if outcome.done else "hand-over failed", again=again, why=outcome.why)
    return recorded


def _state(
    ledger: Ledger, versions: Versions, session: Session, one: Handover, outcome: HandoverOutcome
) -> ServerState:
    """The state of a server after an attempt."""
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


def wait_seconds(attempts: int, requested: float | None = None) -> float:
    """The wait after a number of failed attempts. requested: the server's own wait, if longer."""
    own = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * float(2 ** min(attempts - 1, 10)))
    return max(own, min(requested or 0.0, LONGEST_REQUESTED_WAIT_SECONDS))


def retry(ledger: Ledger, fleet: Fleet, name: str, *, who: str, why: str) -> Handover:
    """Plan a new hand-over of the live release to a server, whatever happened before.

    Raises: NotFound: no such server, or no release is live. StaleState: a hand-over is in progress.
    """
    served_named(fleet, name)
    with ledger.begin() as session:
        live = queries.releases.live_release(session)
        if live is None:
            raise NotFound(
                "no release is live, so there is nothing to hand over; publish one first"
            )
        newest, now = operations.handovers.newest(session, name), ledger.now()
        if newest is not None and newest.status is HandoverStatus.WAITING:
            operations.handovers.move(session, newest, HandoverStatus.SUPERSEDED, now=now)
        if newest is not None and newest.status is HandoverStatus.SENDING:
            raise StaleState(f"a hand-over to {name} is in progress; try again when it has ended")
        queries.releases.log_action(
            session, who=who, what=f"servers retry {name}", why=why, now=now
        )
        return operations.handovers.add(session, name, live.number, why=f"{who}: {why}", now=now)
