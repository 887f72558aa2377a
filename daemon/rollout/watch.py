"""Looks at servers between hand-overs: one that was started again, or that somebody else loaded, is found and mended.

What a server reports is believed; one that cannot say is asked a few questions that tell the release from the others. One that
does not answer keeps what was known of it, for nobody can tell.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import BadConfig, HandoverFailed
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.log import carried, log
from factd.daemon.paths import Paths
from factd.daemon.rollout.handover import Target, ask_some
from factd.daemon.rollout.targets import number_of, target_of
from factd.daemon.servers import Report, Server
from factd.store import operations, queries
from factd.store.model.handovers import ServerState

if TYPE_CHECKING:
    from factd.daemon.plugins import ConfiguredServer

SIDE_BY_SIDE = 16  # servers
QUESTIONS = 3  # to one that cannot say what it serves


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What one look at a server found."""

    report: Report | None = None  # None: it did not answer
    wrong: str = ""  # why its answers are not those of the release that it is known to serve
    error: str = ""  # why it did not answer


def look_at_all(
    ledger: Ledger, paths: Paths, versions: Versions, fleet: Fleet, *, stopping: Callable[[], bool]
) -> int:
    """Look at every server that nothing is being handed to; the number of those that do not serve what they should."""
    with ledger.read() as session:
        busy = {one.server for one in operations.handovers.open_handovers(session)}
        states = operations.handovers.states(session)
    idle = [served for name, served in fleet.servers.items() if name in states.keys() - busy]
    if not idle or stopping():
        return 0
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE, thread_name_prefix="watch") as pool:
        looks = list(pool.map(carried(partial(look_at, ledger, paths, versions)), idle))
    strayed = 0
    for served, look in zip(idle, looks, strict=True):
        strayed += keep(ledger, served.name, look)
    return strayed


def look_at(
    ledger: Ledger, paths: Paths, versions: Versions, served: "ConfiguredServer"
) -> Observation:
    """What a server serves now."""
    server: Server | None = None
    try:
        server = served.connect(served.settings)
        report = server.report()
        wrong = (
            "" if report.serving is not None else _wrong(ledger, paths, versions, served, server)
        )
    except (HandoverFailed, BadConfig) as error:
        return Observation(error=str(error))
    finally:
        if server is not None:
            server.close()
    return Observation(report=report, wrong=wrong)


def _wrong(
    ledger: Ledger, paths: Paths, versions: Versions, served: "ConfiguredServer", server: Server
) -> str:
    with ledger.read() as session:
        state = operations.handovers.states(session).get(served.name)
        live = queries.releases.live_release(session)
    if state is None or state.release is None or live is None:
        return ""
    other = live.number if live.number != state.release else None
    target = target_of(ledger, paths, versions, served, state.release, other)
    few = Target(version=target.version, wanted=target.wanted[:QUESTIONS])
    match = ask_some(server, few, tolerance=served.settings.tolerance)
    return match.wrong[0] if match is not None and match.wrong else ""


def keep(ledger: Ledger, name: str, look: Observation) -> bool:
    """Record a look, unless something was handed over meanwhile; True where the server does not serve what it should."""
    with ledger.begin() as session:
        old = operations.handovers.states(session).get(name)
        newest = operations.handovers.newest(session, name)
        if old is None or (newest is not None and newest.is_open):
            return False
        found = after(old, look)
        if look.report is not None:
            found = replace(found, seen_at=ledger.now())
        operations.handovers.save_state(session, found)
    strayed = found.version != old.version
    if strayed:
        serves = found.version or "something else"
        log.warning("server strayed", server=name, had=old.version, serves=serves, why=look.wrong)
    return strayed


def after(old: ServerState, look: Observation) -> ServerState:
    """How a server stands after a look, pure."""
    if look.report is None:
        return replace(old, error=look.error)
    known = replace(old, loaded=look.report.loaded, error=look.wrong)
    if look.report.serving is not None and look.report.serving != old.version:
        name = look.report.serving
        return replace(known, release=number_of(name), version=name)
    return replace(known, release=None, version="") if look.wrong else known
