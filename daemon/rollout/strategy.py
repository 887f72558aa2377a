"""Which server is to have which release, pure: first the canaries, after a while the rest; back at once, wherever it was before.

A release that a server refused is not given to it again until an operator says so (`factd servers retry`), or it goes live
anew: the server is to have what it had before.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from factd.store.model.handovers import OPEN, Handover, HandoverStatus, ServerState


@dataclass(frozen=True, kw_only=True)
class ServerProgress:
    """How one server stands towards the live release."""

    name: str
    canary: bool
    state: ServerState | None  # None: it was never seen
    newest: Handover | None  # its last hand-over, whatever came of it
    tried: Handover | None  # its last hand-over of the live release
    before: int | None  # the release that it last had besides the live one


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What decides who gets the live release now."""

    release: int
    live_at: datetime
    goes_back: bool  # a later one was live before: nobody waits for canaries
    frozen: bool  # an operator wants nothing to move: who has not got it yet waits
    soak: timedelta
    first_done: Mapping[str, datetime]  # when each server first had it
    names: Mapping[int, str] = field(default_factory=dict)  # of versions as they lie on disk


@dataclass(frozen=True, kw_only=True)
class PlannedHandover:
    """A hand-over to be made; what waits for the server is superseded."""

    server: str
    release: int
    why: str
    supersedes: Handover | None = None


def canaries(names: Iterable[str], flagged: Iterable[str], share: float) -> frozenset[str]:
    """The servers that get a release first: those that are flagged, and others by name until they are a share of all."""
    everybody, first = sorted(names), sorted(set(flagged))
    others = [name for name in everybody if name not in first]
    more = max(0, ceil(share * len(everybody)) - len(first))
    return frozenset((*first, *others[:more]))


def has_refused(standing: ServerProgress, rollout: Rollout) -> bool:
    """The server was given the release since it is live, and it ended badly."""
    tried = standing.tried
    return (
        tried is not None
        and tried.status is HandoverStatus.FAILED
        and tried.created_at >= rollout.live_at
    )


def may_receive(
    standing: ServerProgress, everybody: Sequence[ServerProgress], rollout: Rollout, now: datetime
) -> bool:
    """It is this server's turn: it is a canary, or all canaries have had the release for the time of soaking."""
    first = [one for one in everybody if one.canary]
    at_once = rollout.goes_back or rollout.release == 0 or standing.name in rollout.first_done
    if standing.canary or not first or at_once:
        return True
    had = [rollout.first_done.get(one.name) for one in first if not has_refused(one, rollout)]
    soaked = all(at is not None and now - at >= rollout.soak for at in had)
    return soaked and len(had) == len(first) and not rollout.frozen


def target(
    standing: ServerProgress, everybody: Sequence[ServerProgress], rollout: Rollout, now: datetime
) -> int | None:
    """The release that a server is to have now; None: whatever it has."""
    turn = not has_refused(standing, rollout) and may_receive(standing, everybody, rollout, now)
    return rollout.release if turn else standing.before


def planned_handovers(
    everybody: Sequence[ServerProgress], rollout: Rollout, now: datetime
) -> tuple[PlannedHandover, ...]:
    """The hand-overs that are missing, of versions that lie on disk."""
    wanted = [(one, target(one, everybody, rollout, now)) for one in everybody]
    found = (_step(one, number, rollout) for one, number in wanted if number is not None)
    return tuple(step for step in found if step is not None)


def _step(standing: ServerProgress, wanted: int, rollout: Rollout) -> PlannedHandover | None:
    newest, name = standing.newest, rollout.names.get(wanted)
    open_ = newest if newest is not None and newest.status in OPEN else None
    if name is None or (open_ is not None and _on_its_way(open_, wanted)):
        return None
    if open_ is None and (serves(standing, wanted, name) or _gave_up(newest, wanted, rollout)):
        return None
    why = _why(standing, wanted)
    return PlannedHandover(server=standing.name, release=wanted, why=why, supersedes=open_)


def _on_its_way(newest: Handover, wanted: int) -> bool:
    return newest.release == wanted or newest.status is HandoverStatus.SENDING


def _gave_up(newest: Handover | None, wanted: int, rollout: Rollout) -> bool:
    """Also going back failed: an operator must look."""
    failed = newest is not None and newest.status is HandoverStatus.FAILED
    return (
        failed
        and newest is not None
        and newest.release == wanted
        and newest.created_at >= rollout.live_at
    )


def serves(standing: ServerProgress, wanted: int, name: str) -> bool:
    """Its users get this version, as far as is known."""
    state = standing.state
    return state is not None and state.release == wanted and state.version == name


def _why(standing: ServerProgress, wanted: int) -> str:
    state, newest = standing.state, standing.newest
    if newest is None:
        return "it is new"
    if newest.release != wanted:
        return f"release {wanted} is live"
    return (
        f"it serves {state.version}" if state and state.version else "what it serves is not known"
    )
