"""A lease has one holder at a time and an epoch that rises with each new holder.

An earlier holder can change nothing.
"""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from factd.daemon import leases
from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import PublishFailed
from factd.daemon.leases import LeaseClaim, Watch
from factd.store import operations
from factd.store.database.session import Store
from factd.store.errors import Overtaken
from support.databases import postgresql
from support.world import NOW


def now() -> datetime:
    return datetime.now(UTC)


class Monotonic:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def claim(store: Store, *, name: str = "clock", clock: Monotonic | None = None) -> LeaseClaim:
    found = LeaseClaim(store, name, 60.0, now)
    found.watch = Watch(clock or Monotonic())
    found.advisory.is_supported, found.advisory.engine = False, None  # that of PostgreSQL: below
    return found


def test_a_free_lease_is_taken_by_one(store: Store) -> None:
    held = claim(store).attempt()
    assert held is not None
    assert held.epoch == 1
    assert claim(store).attempt() is None
    held.give_back()
    second = claim(store).attempt()
    assert second is not None
    assert second.epoch == 2
    second.give_back()


def test_of_many_who_want_it_at_once_one_gets_it(store: Store) -> None:
    with store.begin() as session:
        operations.leases.lease(session, "clock", now=NOW)
    found, start = [], threading.Barrier(8)

    def want() -> None:
        wanted = claim(store)
        start.wait(timeout=30)
        found.append(wanted.attempt())

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    held = [one for one in found if one is not None]
    assert len(held) == 1
    held[0].give_back()


def test_a_holder_that_gives_no_sign_of_life_loses_it_and_is_told_so(store: Store) -> None:
    first = claim(store).attempt()
    assert first is not None
    clock = Monotonic()
    waits = claim(store, clock=clock)
    assert waits.attempt() is None
    clock.time += 59
    assert waits.attempt() is None
    clock.time += 1
    second = waits.attempt()
    assert second is not None
    with pytest.raises(Overtaken), store.begin() as session:
        first.confirm(session)
    with pytest.raises(Overtaken):
        first.check()
    with store.begin() as session:
        second.confirm(session)
    first.give_back()
    with store.begin() as session:  # what the first one does at its end changes nothing
        assert operations.leases.lease(session, "clock", now=NOW).holder == second.lease.holder
    second.give_back()


def test_a_holder_that_renews_keeps_it_however_long_others_wait(store: Store) -> None:
    held = claim(store).attempt()
    assert held is not None
    clock = Monotonic()
    waits = claim(store, clock=clock)
    for _ in range(10):
        assert waits.attempt() is None
        clock.time += 50
        with store.begin() as session:
            operations.leases.renew(session, held.lease, now=NOW)
    held.give_back()


def test_the_lease_of_a_process_that_has_ended_is_free_at_once(store: Store) -> None:
    gone = f"{leases.machine()}:{2**22 + 1}:1"
    with store.begin() as session:
        seen = operations.leases.lease(session, "clock", now=NOW)
        operations.leases.take(session, seen, gone, now=NOW)
    assert leases.has_ended(gone)
    assert not leases.has_ended(leases.this_process())
    assert not leases.has_ended("another-host/1/2:7:9")
    held = claim(store).attempt()
    assert held is not None
    held.give_back()


def test_a_rollback_seizes_the_lease_of_somebody_who_is_well(store: Store) -> None:
    first = claim(store, name="writer").attempt()
    assert first is not None
    second = claim(store, name="writer").attempt(seize=True)
    assert second is not None
    with pytest.raises(Overtaken), store.begin() as session:
        first.confirm(session)
    for held in (first, second):
        held.give_back()


def test_nobody_takes_over_within_a_transaction_that_has_confirmed(store: Store) -> None:
    """What is written beside a confirmation is written under that epoch, or not at all."""
    first = claim(store).attempt()
    assert first is not None
    order: list[str] = []

    def overtake() -> None:
        second = claim(store).attempt(seize=True)
        order.append("taken")
        assert second is not None
        second.give_back()

    with store.begin() as session:
        first.confirm(session)
        thread = threading.Thread(target=overtake)
        thread.start()
        time.sleep(0.5)
        order.append("written")
    thread.join(timeout=60)
    assert order == ["written", "taken"]
    first.give_back()


def test_postgresql_frees_the_lease_of_a_dead_connection_at_once(
    pytestconfig: pytest.Config,
) -> None:
    store = Store(postgresql(pytestconfig))
    first = LeaseClaim(store, "clock", 1000.0, now).attempt()
    assert first is not None
    waits = LeaseClaim(store, "clock", 1000.0, now)
    assert waits.attempt() is None
    first.done.set()
    first.advisory.release()  # as when its process dies: no other sign
    second = waits.attempt()
    assert second is not None
    assert second.epoch == first.epoch + 1
    second.give_back()
    store.close()


def test_a_watch_counts_from_the_last_change_by_its_own_clock() -> None:
    clock = iter([0.0, 1.0, 2.0, 5.0, 6.0, 6.0]).__next__
    watch = Watch(lambda: clock())
    assert watch.unchanged_seconds("a") == 1.0  # seen first at 1, asked at 2
    assert watch.unchanged_seconds("a") == 4.0
    assert watch.unchanged_seconds("b") == 0.0


def test_a_publisher_that_was_paused_cannot_switch_any_more(tmp_path: Path) -> None:
    folder = Versions(tmp_path, 10)
    for number in (1, 2):
        folder.folder(number).mkdir(parents=True)
        (folder.folder(number) / "manifest.json").write_text("{}")
    folder.switch(1, epoch=4)
    folder.fence(5)
    with pytest.raises(PublishFailed, match="taken over"):
        folder.switch(2, epoch=4)
    assert folder.current() == 1
    folder.switch(2, epoch=5)
    assert folder.current() == 2
