"""Observes servers between hand-overs, to notice restarts and versions loaded by others.

A server's report is believed. A server that cannot report is asked a few questions that distinguish
its release from others. For a server that does not answer, the last known state is kept.
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
from factd.daemon.rollout.handover import Target, compare_answers
from factd.daemon.rollout.targets import number_of, target_of
from factd.daemon.servers import Report, Server
from factd.store import operations, queries
from factd.store.model.handovers import ServerState

if TYPE_CHECKING:
    from factd.daemon.plugins import ConfiguredServer

SIDE_BY_SIDE = 16  # servers that are observed at the same time
QUESTIONS = 3  # for a server that cannot report what it serves


@dataclass(frozen=True, kw_only=True)
class Observation:
    """The result of observing one server."""

    report: Report | None = None  # None: the server did not answer
    wrong: str = ""  # how its answers differ from those of the release that it should serve
    error: str = ""  # why the server did not answer


def observe_all(
    ledger: Ledger, paths: Paths, versions: Versions, fleet: Fleet, *, stopping: Callable[[], bool]
) -> int:
    """Observe every server without an open hand-over. Returns how many serve something else."""
    with ledger.read() as session:
        busy = {one.server for one in operations.handovers.list_open(session)}
        states = operations.handovers.server_states(session)
    idle = [served for name, served in fleet.servers.items() if name in states.keys() - busy]
    if not idle or stopping():
        return 0
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE, thread_name_prefix="watch") as pool:
        observations = list(pool.map(carried(partial(observe, ledger, paths, versions)), idle))
    strayed = 0
    for served, observation in zip(idle, observations, strict=True):
        strayed += record(ledger, served.name, observation)
    return strayed


def observe(
    ledger: Ledger, paths: Paths, versions: Versions, served: "ConfiguredServer"
) -> Observation:
    """Find out what a server serves now."""
    server: Server | None = None
    try:
        server = served.connect(served.settings)
        report = server.report()
        wrong = (
            ""
            if report.serving is not None
            else _difference(ledger, paths, versions, served, server)
        )
    except (HandoverFailed, BadConfig) as error:
        return Observation(error=str(error))
    finally:
        if server is not None:
            server.close()
    return Observation(report=report, wrong=wrong)


def _difference(
    ledger: Ledger, paths: Paths, versions: Versions, served: "ConfiguredServer", server: Server
) -> str:
    with ledger.read() as session:
        state = operations.handovers.server_states(session).get(served.name)
        live = queries.releases.live_release(session)
    if state is None or state.release is None or live is None:
        return ""
    other = live.number if live.number != state.release else None
    target = target_of(ledger, paths, versions, served, state.release, other)
    few = Target(version=target.version, expected=target.expected[:QUESTIONS])
    match = compare_answers(server, few, tolerance=served.settings.tolerance)
    return match.wrong[0] if match is not None and match.wrong else ""


def record(ledger: Ledger, name: str, observation: Observation) -> bool:
    """Store an observation, unless a hand-over began meanwhile. True: the server has strayed.

    A server has strayed if it serves something else than the version it was given.
    """
    with ledger.begin() as session:
        old = operations.handovers.server_states(session).get(name)
        newest = operations.handovers.newest(session, name)
        if old is None or (newest is not None and newest.is_open):
            return False
        new = after(old, observation)
        if observation.report is not None:
            new = replace(new, seen_at=ledger.now())
        operations.handovers.save_server_state(session, new)
    strayed = new.version != old.version
    if strayed:
        serves, why = new.version or "something else", observation.wrong
        log.warning("server strayed", server=name, had=old.version, serves=serves, why=why)
    return strayed


def after(old: ServerState, observation: Observation) -> ServerState:
    """The state of a server after an observation. A pure function."""
    if observation.report is None:
        return replace(old, error=observation.error)
    known = replace(old, loaded=observation.report.loaded, error=observation.wrong)
    if observation.report.serving is not None and observation.report.serving != old.version:
        name = observation.report.serving
        return replace(known, release=number_of(name), version=name)
    return replace(known, release=None, version="") if observation.wrong else known
