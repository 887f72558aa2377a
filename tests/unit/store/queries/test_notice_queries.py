"""The outbox holds one notice while a condition lasts, and a new one when it comes back.

No notice is lost.
"""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy.orm import Session

from factd.store.database.session import Store
from factd.store.model.operations import DispatchStatus, Notice
from factd.store.operations import notices
from support.world import NOW


def frozen(session: Session, text: str = "frozen by anna: a test", **more: Any) -> Notice:
    values: dict[str, Any] = {"key": "frozen", "kind": "frozen", "data": {"who": "anna"}}
    values |= {"now": NOW} | more
    return notices.notify(session, text=text, **values)


def dispatched(session: Session, *channels: str) -> None:
    for channel in channels:
        notices.dispatch(session, channel, notices.undispatched(session, channel, ["frozen"]))


def test_a_lasting_condition_is_one_notice_that_counts_up(store: Store) -> None:
    with store.begin() as session:
        first = frozen(session)
        again = frozen(session, "frozen by anna: still", now=NOW + timedelta(hours=1))
        assert (again.id, again.count, again.text) == (first.id, 2, "frozen by anna: still")
        assert (again.first_at, again.last_at) == (NOW, NOW + timedelta(hours=1))
        assert list(notices.open_notices(session)) == ["frozen"]


def test_a_condition_that_comes_back_is_a_new_notice(store: Store) -> None:
    with store.begin() as session:
        first = frozen(session)
        assert notices.close(session, "frozen", now=NOW)
        assert not notices.close(session, "frozen", now=NOW)
        second = frozen(session)
        assert second.id > first.id
        assert [n.over_at for n in notices.newest_notices(session, limit=5)] == [None, NOW]


def test_processes_that_find_the_same_condition_at_once_open_one_notice(store: Store) -> None:
    ready = Barrier(4)

    def find(_: int) -> int:
        with store.read() as session:
            assert notices.open_notices(session) == {}
        ready.wait(timeout=20)
        with store.begin() as session:
            return frozen(session).id

    with ThreadPoolExecutor(max_workers=4) as pool:
        assert len(set(pool.map(find, range(4)))) == 1
    with store.read() as session:
        (only,) = notices.newest_notices(session, limit=5)
    assert only.count == 4


def test_a_channel_gets_each_open_notice_of_its_kinds_once(store: Store) -> None:
    with store.begin() as session:
        frozen(session)
        assert notices.undispatched(session, "ops", ["rejected"]) == []
        dispatched(session, "ops")
        assert notices.undispatched(session, "ops", ["frozen"]) == []
        assert len(notices.undispatched(session, "mail", ["frozen"])) == 1
        notices.close(session, "frozen", now=NOW)
        assert notices.undispatched(session, "mail", ["frozen"]) == []


def test_a_notice_that_is_closed_before_it_was_sent_is_still_sent(store: Store) -> None:
    with store.begin() as session:
        frozen(session)
        dispatched(session, "ops")
        notices.close(session, "frozen", now=NOW)
        (waiting,) = notices.due(session, "ops", now=NOW, limit=5)
        assert waiting.notice.over_at == NOW


def test_an_attempt_is_counted_before_it_is_made_and_only_one_sender_makes_it(store: Store) -> None:
    with store.begin() as session:
        frozen(session)
        dispatched(session, "ops")
        (waiting,) = notices.due(session, "ops", now=NOW, limit=5)
        assert notices.start_attempt(session, waiting, now=NOW)
        assert not notices.start_attempt(session, waiting, now=NOW)
        assert notices.due(session, "ops", now=NOW, limit=5) == []
        (later,) = notices.due(session, "ops", now=NOW + timedelta(seconds=30), limit=5)
        assert (later.id, later.attempts) == (waiting.id, 1)


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 30), (1, 60), (2, 120), (6, 1920), (7, 3600), (500, 3600)]
)
def test_the_wait_after_a_failed_attempt_doubles_up_to_an_hour(attempts: int, seconds: int) -> None:
    assert notices.retry_wait_seconds(attempts) == seconds


def test_a_dispatch_that_was_sent_or_given_up_is_not_due(store: Store) -> None:
    with store.begin() as session:
        frozen(session)
        dispatched(session, "ops", "mail")
        (one,) = notices.due(session, "ops", now=NOW, limit=5)
        notices.mark_sent(session, one.id, now=NOW)
        (two,) = notices.due(session, "mail", now=NOW, limit=5)
        notices.mark_failed(session, two.id, "550 no such user", last=True)
        notices.mark_failed(session, one.id, "too late to fail", last=True)
        later = NOW + timedelta(days=9)
        assert not notices.due(session, "ops", now=later, limit=5)
        assert not notices.due(session, "mail", now=later, limit=5)
        dispatches = notices.dispatches_of_notices(session, [one.notice.id])
    results = {d.channel: (d.status, d.error) for d in dispatches}
    assert results["ops"] == (DispatchStatus.SENT, "")
    assert results["mail"] == (DispatchStatus.FAILED, "550 no such user")


def test_a_receiver_may_ask_for_a_later_time(store: Store) -> None:
    wished = NOW + timedelta(hours=5)
    with store.begin() as session:
        frozen(session)
        dispatched(session, "ops")
        (one,) = notices.due(session, "ops", now=NOW, limit=5)
        notices.start_attempt(session, one, now=NOW)
        notices.mark_failed(session, one.id, "429", last=False, not_before=wished)
        assert not notices.due(session, "ops", now=wished - timedelta(seconds=1), limit=5)
        assert notices.due(session, "ops", now=wished, limit=5)


def test_a_notice_whose_condition_lasts_is_sent_again_as_a_new_message(store: Store) -> None:
    later = NOW + timedelta(hours=25)
    with store.begin() as session:
        frozen(session)
        dispatched(session, "ops")
        (one,) = notices.due(session, "ops", now=NOW, limit=5)
        notices.start_attempt(session, one, now=NOW)
        notices.mark_sent(session, one.id, now=NOW)
        assert notices.stale_dispatches(session, "ops", before=NOW) == []
        assert notices.stale_dispatches(session, "mail", before=later) == []
        notices.requeue(session, notices.stale_dispatches(session, "ops", before=later))
        (again,) = notices.due(session, "ops", now=later, limit=5)
        assert (again.id, again.times, again.attempts) == (one.id, 1, 0)
        notices.mark_sent(session, one.id, now=later)
        notices.close(session, "frozen", now=later)
        assert notices.stale_dispatches(session, "ops", before=later + timedelta(days=9)) == []


def test_a_long_key_is_cut_and_still_identifies_its_notice(store: Store) -> None:
    with store.begin() as session:
        frozen(session, key="x" * 500)
        assert frozen(session, key="x" * 500).count == 2
        assert notices.close(session, "x" * 500, now=NOW)
