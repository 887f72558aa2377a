"""Who gets a release when: canaries first, the rest after the soak, all at once on the way back."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factd.daemon.rollout.strategy import (
    Rollout,
    ServerProgress,
    canaries,
    has_refused,
    may_receive,
    planned_handovers,
    target,
)
from factd.store.errors import IllegalMove
from factd.store.model.handovers import HANDOVER_MOVES, OPEN, Handover, HandoverStatus, ServerState
from factd.store.model.releases import check_move
from support.world import NOW

SOAK = timedelta(minutes=10)
NAMES = {number: f"factd-{number}-abc" for number in range(10)}
LIVE = Rollout(
    release=7, live_at=NOW, goes_back=False, frozen=False, soak=SOAK, first_done={}, names=NAMES
)
LATER = NOW + timedelta(hours=1)


def row(server: str, release: int, status: str, *, minutes: float = 1, id_: int = 1) -> Handover:
    at = NOW + timedelta(minutes=minutes)
    return Handover(
        id=id_,
        server=server,
        release=release,
        status=HandoverStatus(status),
        attempts=1,
        not_before=None,
        created_at=at,
        changed_at=at,
        why="",
        error="",
        restored=None,
    )


def standing(
    name: str,
    *,
    canary: bool = False,
    serves: int | None = 6,
    newest: Handover | None = None,
    before: int | None = 6,
) -> ServerProgress:
    version = NAMES[serves] if serves is not None else ""
    state = ServerState(
        name=name, release=serves, version=version, loaded=(), seen_at=NOW, error=""
    )
    newest = newest or row(name, 6, "done", minutes=-60)
    tried = newest if newest.release == LIVE.release else None
    return ServerProgress(
        name=name, canary=canary, state=state, newest=newest, tried=tried, before=before
    )


CANARY, EU, US = standing("canary", canary=True), standing("eu"), standing("us")
ALL = (CANARY, EU, US)


def wanted(*everybody: ServerProgress, rollout: Rollout = LIVE) -> dict[str, int]:
    return {step.server: step.release for step in planned_handovers(everybody, rollout, LATER)}


def had(*names: str, minutes: float = 1) -> dict[str, datetime]:
    return dict.fromkeys(names, NOW + timedelta(minutes=minutes))


@pytest.mark.parametrize(
    ("share", "flagged", "first"),
    [
        (0.0, (), set()),
        (0.25, (), {"a"}),
        (0.5, (), {"a", "b"}),
        (0.26, (), {"a", "b"}),
        (0.25, ("d",), {"d"}),
        (0.5, ("d",), {"d", "a"}),
        (1.0, (), {"a", "b", "c", "d"}),
        (0.0, ("c",), {"c"}),
    ],
)
def test_canaries_are_those_that_are_flagged_and_others_until_they_are_the_share(
    share: float, flagged: tuple[str, ...], first: set[str]
) -> None:
    assert canaries("dcba", flagged, share) == first


def test_without_canaries_everybody_gets_it_at_once() -> None:
    assert wanted(EU, US) == {"eu": 7, "us": 7}


def test_canaries_get_it_first() -> None:
    assert wanted(*ALL) == {"canary": 7}


def test_the_rest_gets_it_when_every_canary_has_had_it_for_the_soak() -> None:
    done = standing("canary", canary=True, serves=7, newest=row("canary", 7, "done"))
    early = replace(LIVE, first_done=had("canary", minutes=51))
    soaked = replace(LIVE, first_done=had("canary", minutes=50))
    assert wanted(done, EU, US, rollout=early) == {}
    assert wanted(done, EU, US, rollout=soaked) == {"eu": 7, "us": 7}


def test_a_release_that_a_canary_refused_goes_nowhere() -> None:
    bad = standing("canary", canary=True, newest=row("canary", 7, "failed"))
    assert has_refused(bad, LIVE)
    assert wanted(bad, EU, US, rollout=replace(LIVE, first_done=had("canary"))) == {}


def test_on_the_way_back_nobody_waits() -> None:
    assert wanted(*ALL, rollout=replace(LIVE, goes_back=True)) == dict.fromkeys(
        ("canary", "eu", "us"), 7
    )
    assert wanted(*ALL, rollout=replace(LIVE, release=0)) == dict.fromkeys(
        ("canary", "eu", "us"), 0
    )


def test_while_factd_is_frozen_a_rollout_stands_still_but_who_had_the_release_gets_it_back() -> (
    None
):
    frozen = replace(LIVE, first_done=had("canary", "us"), frozen=True)
    canary = standing("canary", canary=True, serves=7, newest=row("canary", 7, "done"))
    strayed = standing("us", serves=None, newest=row("us", 7, "done"))
    assert wanted(canary, EU, strayed, rollout=frozen) == {"us": 7}
    assert wanted(canary, EU, strayed, rollout=replace(frozen, frozen=False)) == {"eu": 7, "us": 7}


def test_a_server_that_refused_the_release_is_to_have_what_it_had() -> None:
    lost = standing("eu", serves=None, newest=row("eu", 7, "failed"))
    assert wanted(lost) == {"eu": 6}
    assert wanted(standing("eu", serves=6, newest=row("eu", 7, "failed"))) == {}
    gone = standing("eu", serves=None, newest=row("eu", 6, "failed"))
    gone = replace(gone, tried=row("eu", 7, "failed"))
    assert wanted(gone) == {}  # also going back failed: an operator must look


def test_a_refusal_of_an_earlier_time_does_not_count_when_the_release_goes_live_again() -> None:
    assert wanted(standing("eu", newest=row("eu", 7, "failed", minutes=-1))) == {"eu": 7}


def test_a_server_that_strayed_gets_it_again_and_is_told_why() -> None:
    strayed = standing("eu", serves=3, newest=row("eu", 7, "done"))
    (step,) = planned_handovers((strayed,), LIVE, LATER)
    assert (step.release, step.why) == (7, f"it serves {NAMES[3]}")
    again = replace(strayed, state=replace(EU.state, release=7, version="factd-7-old"))  # type: ignore[type-var]
    assert wanted(again) == {"eu": 7}  # its files were written again since
    assert wanted(standing("eu", serves=7, newest=row("eu", 7, "done"))) == {}


def test_what_waits_is_superseded_and_what_is_on_its_way_is_not() -> None:
    waits = standing("eu", newest=row("eu", 6, "waiting"))
    (step,) = planned_handovers((waits,), LIVE, LATER)
    assert step.supersedes == waits.newest
    for newest in (row("eu", 6, "sending"), row("eu", 7, "waiting"), row("eu", 7, "sending")):
        assert wanted(standing("eu", newest=newest)) == {}


def test_a_new_server_gets_the_release_and_one_that_does_not_lie_on_disk_is_given_to_nobody() -> (
    None
):
    new = ServerProgress(name="new", canary=False, state=None, newest=None, tried=None, before=None)
    (step,) = planned_handovers((new,), LIVE, LATER)
    assert (step.release, step.why) == (7, "the server is new")
    assert wanted(new, rollout=replace(LIVE, names={})) == {}


minutes = st.floats(min_value=0, max_value=60)


@given(st.lists(st.none() | minutes, min_size=1, max_size=4), st.booleans(), st.booleans(), minutes)
def test_nobody_of_the_rest_has_a_release_that_one_canary_lacks(
    times: list[float | None], goes_back: bool, frozen: bool, now: float
) -> None:
    first = {f"c{n}": NOW + timedelta(minutes=at) for n, at in enumerate(times) if at is not None}
    everybody = [standing(f"c{n}", canary=True) for n in range(len(times))] + [EU]
    rollout = replace(LIVE, first_done=first, goes_back=goes_back, frozen=frozen)
    at = NOW + timedelta(minutes=now)
    soaked = len(first) == len(times) and all(at - one >= SOAK for one in first.values())
    assert may_receive(EU, everybody, rollout, at) == (goes_back or (soaked and not frozen))
    assert target(everybody[0], everybody, rollout, at) == 7


@given(st.sampled_from(HandoverStatus), st.sampled_from(HandoverStatus))
def test_only_the_moves_of_the_table_are_legal(
    before: HandoverStatus, after: HandoverStatus
) -> None:
    if after in HANDOVER_MOVES[before]:
        check_move(HANDOVER_MOVES, before, after)
        assert before in OPEN
    else:
        with pytest.raises(IllegalMove, match="cannot become"):
            check_move(HANDOVER_MOVES, before, after)
