"""Which server gets which release, as pure functions: canaries first, the others after a while.

A rollback goes to all servers at once. A release that a server refused is not given to it again
until an operator says so (`factd servers retry`) or the release goes live anew. Until then the
server gets the release that it had before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from factd.store.model.handovers import OPEN, Handover, HandoverStatus, ServerState


@dataclass(frozen=True, kw_only=True)
class ServerProgress:
    """How far one server is with the live release."""

    name: str
    canary: bool
    state: ServerState | None  # None: the server is new
    newest: Handover | None  # its last hand-over, of any release
    tried: Handover | None  # its last hand-over of the live release
    before: int | None  # the last other release that it served


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The facts that decide which server gets the live release now."""

    release: int
    live_at: datetime
    goes_back: bool  # a rollback from a later release: no server waits for canaries
    frozen: bool  # factd is frozen: servers that do not have the release yet wait
    soak: timedelta
    first_done: Mapping[str, datetime]  # server -> when it first had the release
    names: Mapping[int, str] = field(default_factory=dict)  # of the versions on disk


@dataclass(frozen=True, kw_only=True)
class PlannedHandover:
    """A hand-over that is missing. supersedes: a waiting hand-over that it replaces."""

    server: str
    release: int
    why: str
    supersedes: Handover | None = None


def canaries(names: Iterable[str], flagged: Iterable[str], share: float) -> frozenset[str]:
    """The servers that get a release first: the flagged ones, then others by name up to a share."""
    ordered, first = sorted(names), sorted(set(flagged))
    others = [name for name in ordered if name not in first]
    more = max(0, ceil(share * len(ordered)) - len(first))
    return frozenset((*first, *others[:more]))


def has_refused(server: ServerProgress, rollout: Rollout) -> bool:
    """A hand-over of the release to the server has failed since the release went live."""
    tried = server.tried
    return (
        tried is not None
        and tried.status is HandoverStatus.FAILED
        and tried.created_at >= rollout.live_at
    )


def may_receive(
    server: ServerProgress, servers: Sequence[ServerProgress], rollout: Rollout, now: datetime
) -> bool:
    """The server may get the release: it is a canary, or all canaries have had it long enough."""
    first = [one for one in servers if one.canary]
    at_once = rollout.goes_back or rollout.release == 0 or server.name in rollout.first_done
    if server.canary or not first or at_once:
        return True
    had = [rollout.first_done.get(one.name) for one in first if not has_refused(one, rollout)]
    soaked = all(at is not None and now - at >= rollout.soak for at in had)
    return soaked and len(had) == len(first) and not rollout.frozen


def target(
    server: ServerProgress, servers: Sequence[ServerProgress], rollout: Rollout, now: datetime
) -> int | None:
    """The release that a server must have now. None: any."""
    receives = not has_refused(server, rollout) and may_receive(server, servers, rollout, now)
    return rollout.release if receives else server.before


def planned_handovers(
    servers: Sequence[ServerProgress], rollout: Rollout, now: datetime
) -> tuple[PlannedHandover, ...]:
    """The hand-overs that are missing, of versions that are on disk."""
    wanted = [(one, target(one, servers, rollout, now)) for one in servers]
    steps = (_step(one, number, rollout) for one, number in wanted if number is not None)
    return tuple(step for step in steps if step is not None)


def _step(server: ServerProgress, wanted: int, rollout: Rollout) -> PlannedHandover | None:
    newest, name = server.newest, rollout.names.get(wanted)
    open_ = newest if newest is not None and newest.status in OPEN else None
    if name is None or (open_ is not None and _on_its_way(open_, wanted)):
        return None
    if open_ is None and (serves(server, wanted, name) or _gave_up(newest, wanted, rollout)):
        return None
    why = _why(server, wanted)
    return PlannedHandover(server=server.name, release=wanted, why=why, supersedes=open_)


def _on_its_way(newest: Handover, wanted: int) -> bool:
    return newest.release == wanted or newest.status is HandoverStatus.SENDING


def _gave_up(newest: Handover | None, wanted: int, rollout: Rollout) -> bool:
    """A hand-over of this release has failed for good, so an operator must look."""
    failed = newest is not None and newest.status is HandoverStatus.FAILED
    return (
        failed
        and newest is not None
        and newest.release == wanted
        and newest.created_at >= rollout.live_at
    )


def serves(server: ServerProgress, wanted: int, name: str) -> bool:
    """Users of the server get this version, as far as is known."""
    state = server.state
    return state is not None and state.release == wanted and state.version == name


def _why(server: ServerProgress, wanted: int) -> str:
    state, newest = server.state, server.newest
    if newest is None:
        return "the server is new"
    if newest.release != wanted:
        return f"release {wanted} is live"
    return (
        f"it serves {state.version}"
        if state and state.version
        else "the version it serves is unknown"
    )
