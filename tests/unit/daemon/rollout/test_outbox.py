"""Hand-overs are rows that are made with the release, on SQLite and PostgreSQL.

One process at a time tries them in order until they succeed.
"""

import time
from collections.abc import Iterator
from datetime import UTC, timedelta

import pytest
from apscheduler.schedulers.background import BackgroundScheduler

from factd.daemon.app import App
from factd.daemon.errors import Busy
from factd.daemon.notifications import notices
from factd.daemon.publishing import canary_rollback
from factd.daemon.publishing import publish as publishing
from factd.daemon.rollout import outbox, watch
from factd.daemon.rollout.check import check
from factd.daemon.rollout.targets import held_versions, name_of, number_of
from factd.daemon.runtime.chores import Chores
from factd.store import operations, queries, views
from factd.store.database import migrate
from factd.store.errors import NotFound, Overtaken
from factd.store.model.handovers import Handover, HandoverStatus
from factd.store.model.releases import ReleaseStatus
from support.fakes.servers import Engine, accept, publish, serve
from support.world import Clock, Maker

TABLES = "[servers]\nattempts = 3\nsoak_seconds = 600\n[lease]\nseconds = 2\n[publish]\nkeep = 1\n"


@pytest.fixture
def app(make: Maker) -> App:
    found = make(TABLES)
    migrate.upgrade(found.config.database)
    return found


@pytest.fixture
def eu() -> Engine:
    return Engine()


@pytest.fixture
def us() -> Engine:
    return Engine()


@pytest.fixture
def both(app: App, eu: Engine, us: Engine) -> Iterator[App]:
    serve(app, {"eu": eu, "us": us})
    yield app


def rows(app: App, server: str = "") -> list[str]:
    """Hand-overs, the oldest first."""
    with app.ledger.read() as session:
        found = operations.handovers.list_handovers(session, limit=100, server=server)
    return [f"{h.server} {h.release} {h.status.value}" for h in reversed(found)]


def last(app: App, server: str) -> Handover:
    with app.ledger.read() as session:
        found = operations.handovers.newest(session, server)
    assert found is not None
    return found


def serves(engine: Engine) -> int | None:
    return number_of(engine.serving)


def live(app: App) -> int:
    with app.ledger.read() as session:
        found = queries.releases.live_release(session)
    assert found is not None
    return found.number


def test_a_release_and_its_hand_overs_become_true_together(both: App) -> None:
    publish(both)
    assert rows(both) == ["eu 1 waiting", "us 1 waiting"]


def test_every_server_gets_the_live_release_once(both: App, eu: Engine, us: Engine) -> None:
    number = publish(both)
    assert [
        one.status
        for one in outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    ] == [HandoverStatus.DONE] * 2
    assert serves(eu) == serves(us) == number
    assert outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet) == () and rows(
        both
    ) == [
        "eu 1 done",
        "us 1 done",
    ]
    assert eu.done == ["load 1", "drop 0"]
    assert last(both, "eu").detail["asked"] == 2


def test_without_servers_nothing_is_made(app: App) -> None:
    publish(app)
    assert (
        outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet) == ()
        and rows(app) == []
    )


def test_one_that_fails_is_tried_again_later_and_holds_up_no_other(
    both: App, eu: Engine, us: Engine, clock: Clock
) -> None:
    eu.fails = frozenset({"load 1"})
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (serves(us), serves(eu)) == (1, 0)
    assert last(both, "eu").restored is True and "500" in last(both, "eu").error
    assert outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet) == ()  # not yet
    clock.advance(seconds=6)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (last(both, "eu").status, last(both, "eu").attempts) == (HandoverStatus.WAITING, 2)
    eu.fails = frozenset()
    clock.advance(seconds=11)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (last(both, "eu").status, serves(eu)) == (HandoverStatus.DONE, 1)


def test_one_that_goes_on_failing_is_given_up_told_and_tried_again_by_hand(
    both: App, eu: Engine, clock: Clock
) -> None:
    eu.fails = frozenset({"load 1"})
    publish(both)
    for _ in range(5):
        outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
        clock.advance(hours=1)
    assert (last(both, "eu").status, last(both, "eu").attempts) == (HandoverStatus.FAILED, 3)
    with both.ledger.read() as session:
        seen = views.snapshots.snapshot(session, now=both.ledger.now(), servers=both.fleet.servers)
    told = [n for n in notices.find(seen, both.config.notify, capacity=10) if "eu" in n.key]
    assert [one.kind for one in told] == ["handover_failed"]
    assert (
        "it serves the version before again" in told[0].text
        and "factd servers retry eu" in told[0].text
    )
    eu.fails = frozenset()
    outbox.retry(both.ledger, both.fleet, "eu", who="ada", why="the disk is mounted again")
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert serves(eu) == 1
    with pytest.raises(NotFound, match="no server 'asia'; the configuration has: eu, us"):
        outbox.retry(both.ledger, both.fleet, "asia", who="ada", why="")


def test_wrong_answers_are_given_up_at_once_and_the_version_before_serves(
    both: App, eu: Engine
) -> None:
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    eu.keeps_cache = True
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (last(both, "eu").status, last(both, "eu").attempts) == (HandoverStatus.FAILED, 1)
    assert serves(eu) == 1
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert rows(both, "eu") == ["eu 1 done", "eu 2 failed"]  # it has what it is to have


def test_where_the_version_before_could_not_be_restored_it_is_tried_until_it_is(
    both: App, eu: Engine, clock: Clock
) -> None:
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    eu.dies_of = 2
    publish(both)
    for _ in range(3):
        outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
        clock.advance(hours=1)
    assert last(both, "eu").release == 1 and rows(both, "eu")[1] == "eu 2 failed"
    eu.dies_of, eu.done = -1, []
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (serves(eu), last(both, "eu").status) == (1, HandoverStatus.DONE)


def test_a_server_that_was_away_gets_the_newest_release_and_not_all_that_it_missed(
    both: App, us: Engine, clock: Clock
) -> None:
    us.fails = frozenset({"complete", "report"})
    for _ in range(3):
        publish(both)
        outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    us.fails = frozenset()
    clock.advance(hours=1)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert rows(both, "us") == ["us 1 superseded", "us 2 superseded", "us 3 done"]
    assert [line for line in us.done if line.startswith("load")] == ["load 3"]


def test_a_hand_over_that_a_crash_cut_short_is_made_again(both: App, eu: Engine) -> None:
    publish(both)
    with pytest.raises(Overtaken):
        outbox.hand_over_due(
            both.ledger, both.paths, both.versions, both.fleet, stopping=lambda: bool(eu.done)
        )
    assert last(both, "eu").status is HandoverStatus.SENDING
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert last(both, "eu").status is HandoverStatus.DONE and serves(eu) == 1


def test_one_that_kills_its_process_every_time_is_given_up(both: App) -> None:
    def connect(_: object) -> Engine:
        raise RuntimeError("a bug")

    both.fleet.servers["eu"].__dict__["connect"] = connect
    publish(both)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert last(both, "eu").status is HandoverStatus.FAILED
    assert "ended with its process" in last(both, "eu").error


def test_one_process_hands_over_and_a_rollback_does_not_wait_for_it(both: App) -> None:
    publish(both)
    held = both.ledger.lease(operations.leases.SERVERS)
    with pytest.raises(Busy):
        outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (
        len(outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet, seize=True))
        == 2
    )
    with pytest.raises(Overtaken), both.ledger.begin() as session:
        held.confirm(session)
    held.done.set()


@pytest.fixture
def three(app: App, eu: Engine, us: Engine) -> Iterator[tuple[App, Engine]]:
    canary = Engine()
    serve(app, {"canary": canary, "eu": eu, "us": us}, canaries=("canary",))
    yield app, canary


def test_canaries_first_and_after_the_soak_the_rest(
    three: tuple[App, Engine], eu: Engine, clock: Clock
) -> None:
    app, canary = three
    publish(app)
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    assert (serves(canary), serves(eu)) == (1, 0)
    clock.advance(seconds=599)
    assert outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet) == ()
    clock.advance(seconds=2)
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    assert serves(eu) == 1


def test_a_release_that_a_canary_refuses_is_taken_back_and_factd_is_frozen(
    three: tuple[App, Engine], eu: Engine, us: Engine, clock: Clock
) -> None:
    app, canary = three
    publish(app)
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    clock.advance(hours=1)
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    canary.keeps_weights, canary.reports = frozenset({2}), False
    publish(app)
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    assert canary_rollback.take_back(app.ledger, app.paths, app.versions, app.fleet) is not None
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    assert (live(app), serves(canary), serves(eu), serves(us)) == (1, 1, 1, 1)
    with app.ledger.read() as session:
        assert queries.releases.release(session, 2).status is ReleaseStatus.WITHDRAWN
        frozen = queries.releases.frozen(session)
    assert frozen and "server canary does not serve release 2: 2 of 2 answers" in frozen.why
    assert canary_rollback.take_back(app.ledger, app.paths, app.versions, app.fleet) is None


def test_a_rollback_goes_to_all_at_once(three: tuple[App, Engine], eu: Engine) -> None:
    app, canary = three
    for _ in range(2):
        publish(app)
    publishing.roll_back_to(
        app.ledger, app.paths, app.versions, app.fleet, 1, who="ada", why="wrong"
    )
    outbox.hand_over_due(app.ledger, app.paths, app.versions, app.fleet)
    assert serves(canary) == serves(eu) == 1


def test_versions_that_servers_hold_are_not_deleted(both: App, eu: Engine, us: Engine) -> None:
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    us.fails = frozenset({"complete", "report"})  # it keeps release 1
    for _ in range(4):
        publish(both)
        outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert held_versions(both.ledger, both.fleet) == {1, 5}
    assert both.versions.numbers() == [0, 1, 3, 4, 5]  # one more than are held is kept
    serve(both, {"eu": eu})
    assert held_versions(both.ledger, both.fleet) == {5}  # the other is configured no more
    with both.ledger.begin() as session:
        assert operations.handovers.forget_other_servers(session, both.fleet.servers) == 1
    assert rows(both, "us")[-1] == "us 5 superseded"


def test_a_server_that_strayed_is_found_and_mended(both: App, eu: Engine) -> None:
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (
        watch.observe_all(
            both.ledger, both.paths, both.versions, both.fleet, stopping=lambda: False
        )
        == 0
    )
    eu.serving = "factd-0-aaaaaaaaaaaa"  # somebody started it again
    assert (
        watch.observe_all(
            both.ledger, both.paths, both.versions, both.fleet, stopping=lambda: False
        )
        == 1
    )
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert serves(eu) == 1 and last(both, "eu").why == "it serves factd-0-aaaaaaaaaaaa"


def test_one_that_cannot_say_what_it_serves_is_asked(both: App, eu: Engine) -> None:
    eu.reports = False
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (
        watch.observe_all(
            both.ledger, both.paths, both.versions, both.fleet, stopping=lambda: False
        )
        == 0
    )
    eu.serving, eu.cache = "factd-0-aaaaaaaaaaaa", {}
    assert (
        watch.observe_all(
            both.ledger, both.paths, both.versions, both.fleet, stopping=lambda: False
        )
        == 1
    )
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert serves(eu) == 1


def test_one_that_does_not_answer_keeps_what_was_known_of_it(
    both: App, eu: Engine, clock: Clock
) -> None:
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    seen = both.ledger.now()
    eu.fails = frozenset({"report"})
    clock.advance(minutes=5)
    assert (
        watch.observe_all(
            both.ledger, both.paths, both.versions, both.fleet, stopping=lambda: False
        )
        == 0
    )
    with both.ledger.read() as session:
        state = operations.handovers.server_states(session)["eu"]
    assert (state.release, state.seen_at, state.error) == (1, seen, "it answered 500")


def test_a_server_is_checked_by_hand(both: App, eu: Engine) -> None:
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert (
        check(both.ledger, both.paths, both.versions, both.fleet, "eu")["fits"]
        and check(both.ledger, both.paths, both.versions, both.fleet, "eu")["asked"] == 2
    )
    eu.serving, eu.cache = name_of(both.versions, 0), {}
    found = check(both.ledger, both.paths, both.versions, both.fleet, "eu")
    assert (
        not found["fits"] and found["serving"].startswith("factd-0-") and len(found["wrong"]) == 2
    )
    with pytest.raises(NotFound, match="the configuration has: eu, us"):
        check(both.ledger, both.paths, both.versions, both.fleet, "asia")


def test_a_release_whose_files_were_written_again_is_handed_over_again(
    both: App, eu: Engine
) -> None:
    publish(both)
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    (both.versions.folder(1) / "manifest.json").write_text('{"files": {}}\n')
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert rows(both, "eu") == ["eu 1 done", "eu 1 done"]
    assert eu.serving == name_of(both.versions, 1)


def test_what_ended_long_ago_is_forgotten_but_not_what_a_server_has(
    both: App, clock: Clock
) -> None:
    for _ in range(3):
        publish(both)
        outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    clock.advance(days=100)
    with both.ledger.begin() as session:
        before = both.ledger.now() - timedelta(days=90)
        assert operations.handovers.delete_closed(session, before, servers=both.fleet.servers) == 4
    assert rows(both) == ["eu 3 done", "us 3 done"]


@pytest.mark.parametrize(
    ("attempts", "wish", "seconds"),
    [(1, None, 5), (2, None, 10), (8, None, 640), (50, None, 900), (1, 60, 60), (1, 1e9, 3600)],
)
def test_waits_grow_and_are_bounded(attempts: int, wish: float | None, seconds: float) -> None:
    assert outbox.wait_seconds(attempts, wish) == seconds


@pytest.mark.parametrize(
    ("name", "number"),
    [("factd-12-abc", 12), ("factd-x-abc", None), ("base", None), ("factd-1-a-b", None)],
)
def test_a_name_tells_its_release(name: str, number: int | None) -> None:
    assert number_of(name) == number


def test_an_accepted_release_is_nobody_s_yet(both: App) -> None:
    accept(both, both.ledger.now())
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    assert rows(both) == ["eu 0 done", "us 0 done"]


def test_the_loop_hands_over_in_a_thread_of_its_clock(both: App, eu: Engine) -> None:
    clock = BackgroundScheduler(timezone=UTC)
    clock.start()
    chores = Chores(both, clock, lambda: False)
    publish(both)
    chores.handed_over -= 10  # seconds
    chores.start_due()
    until = time.monotonic() + 20
    while serves(eu) != 1 and time.monotonic() < until:
        time.sleep(0.05)
    clock.shutdown(wait=True)
    assert serves(eu) == 1 and not chores.handing_over.locked()


def test_what_somebody_else_hands_over_is_left_to_them(both: App, eu: Engine) -> None:
    publish(both)
    held = both.ledger.lease(operations.leases.SERVERS)
    Chores(both, BackgroundScheduler(timezone=UTC), lambda: False).hand_over(watch=False)
    assert serves(eu) == 0
    held.give_back()


def test_what_is_known_of_a_server_is_what_was_loaded_again(both: App, eu: Engine) -> None:
    for _ in range(2):
        publish(both)
        outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    (both.versions.folder(2) / "manifest.json").write_text('{"files": {}}\n')  # written again
    eu.fails = frozenset({"load 2"})
    outbox.hand_over_due(both.ledger, both.paths, both.versions, both.fleet)
    with both.ledger.read() as session:
        state = operations.handovers.server_states(session)["eu"]
    assert serves(eu) == 1
    assert (state.release, state.version) == (1, name_of(both.versions, 1))
