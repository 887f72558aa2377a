"""Telling people: what is worth a notice becomes one, and each channel is sent what is due. Cheap where nothing is.

One that is down holds up no other, and is left alone until the next call after one attempt that failed; a crash between a
message and its record sends it again, with the same id.
"""

import hashlib
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache, partial

from sqlalchemy.orm import Session

from factd.daemon.channels import Message
from factd.daemon.config.load import without_secrets
from factd.daemon.config.tables import NotifyTable
from factd.daemon.errors import BadConfig, FactdError, NotSent, Refused
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.log import carried, log, without_secret_fields
from factd.daemon.notifications import notices
from factd.daemon.notifications.notices import Wanted
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.plugins import ConfiguredChannel
from factd.store import operations, views
from factd.store.database.session import Store
from factd.store.model.operations import Dispatch
from factd.store.model.releases import Release
from factd.store.model.snapshot import Snapshot

MESSAGES = 20  # that one call sends over one channel at most
LONGEST_WISH_SECONDS = 86_400
SECONDS = 60.0  # after which one call begins no other message over a channel
SIDE_BY_SIDE = 8  # channels


def never() -> bool:
    """Nobody waits for the end."""
    return False


def dispatch(
    ledger: Ledger,
    planning: PlanningRules,
    channels: Mapping[str, ConfiguredChannel],
    fleet: Fleet,
    notify: NotifyTable,
    *,
    waiting: Iterable[Release] = (),
    limit: str = "",
    stopping: Callable[[], bool] = never,
) -> int:
    """Find what people should know and send what is due; the number of messages that arrived.

    waiting: releases that wait for an operator. limit: one of the day that was reached. stopping: no other message is begun.
    Raises: StoreError: the database does not answer; not for a channel that does not. BadConfig: a channel's table is wrong.
    """
    arrange(ledger, channels, found(ledger, planning, fleet, notify, waiting=waiting, limit=limit))
    now = ledger.now()
    with ledger.read() as session:
        due = [
            told
            for name, told in channels.items()
            if operations.notices.due(session, name, now=now, limit=1)
        ]
    if not due:
        return 0
    with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE, thread_name_prefix="notify") as pool:
        return sum(pool.map(carried(partial(send_due, ledger, notify, stopping=stopping)), due))


def found(
    ledger: Ledger,
    planning: PlanningRules,
    fleet: Fleet,
    notify: NotifyTable,
    *,
    waiting: Iterable[Release] = (),
    limit: str = "",
) -> tuple[Wanted, ...]:
    """What people should know now."""
    numbers, table = tuple(release.number for release in waiting), notify
    with ledger.read() as session:
        snapshot = views.snapshots.snapshot(
            session, now=ledger.now(), waiting=numbers, servers=fleet.servers, limit=limit
        )
    snapshot = _with_leverage(ledger.store, snapshot) if table.budget_leverage else snapshot
    return notices.find(snapshot, table, capacity=planning.batch.capacity)


def _with_leverage(store: Store, snapshot: Snapshot) -> Snapshot:
    live = snapshot.live
    if live is None or live.candidate_id is None:
        return snapshot
    return replace(snapshot, live=replace(live, leverage=_leverage(store, live.candidate_id)))


@lru_cache(maxsize=4)
def _leverage(store: Store, candidate: int) -> float | None:
    """Of a candidate that was accepted; its report, which is long, does not change any more."""
    with store.read() as session:
        return views.snapshots.highest_leverage(session, candidate)


def arrange(
    ledger: Ledger, channels: Mapping[str, ConfiguredChannel], wanted: tuple[Wanted, ...]
) -> None:
    """Make the database say what holds, and give each channel what it is to tell; nothing is written where nothing changes."""
    now, receivers = ledger.now(), tuple(channels.values())
    with ledger.read() as session:
        owed = any(any(_owed(session, told, now)) for told in receivers)
        new = notices.changes(operations.notices.open_notices(session), wanted)
    if not (owed or new.told or new.ended):
        return
    with ledger.begin() as session:
        changed = notices.reconcile(session, wanted, now=now)
        for told in receivers:
            untold, stale = _owed(session, told, now)
            operations.notices.dispatch(session, told.name, untold)
            operations.notices.requeue(session, stale)
    log.info("notices changed", changed=changed)


def _owed(session: Session, told: ConfiguredChannel, now: datetime) -> tuple[list[int], list[int]]:
    """Notices that a channel was never given, and dispatches that it is to repeat."""
    kinds, hours = told.settings.kinds, told.settings.repeat_hours
    before = now - timedelta(hours=hours)
    stale = operations.notices.stale_dispatches(session, told.name, before=before) if hours else []
    return operations.notices.undispatched(session, told.name, kinds), stale


def send_due(
    ledger: Ledger,
    notify: NotifyTable,
    told: ConfiguredChannel,
    *,
    stopping: Callable[[], bool] = never,
) -> int:
    """Send over one channel what is due, until one message does not arrive or time is up; how many did."""
    arrived, until = 0, time.monotonic() + SECONDS
    with ledger.read() as session:
        due = operations.notices.due(session, told.name, now=ledger.now(), limit=MESSAGES)
    for one in due:
        if stopping() or time.monotonic() > until:
            break
        mine = _begun(ledger, notify, one)
        if mine and not attempt(ledger, notify, told, one):
            break
        arrived += mine
    return arrived


def _begun(ledger: Ledger, notify: NotifyTable, one: Dispatch) -> bool:
    """Count an attempt; False where another process makes it, or every one so far ended with its process."""
    last = one.attempts >= notify.attempts
    with ledger.begin() as session:
        if last:
            operations.notices.mark_failed(session, one.id, "every attempt broke off", last=True)
            return False
        return operations.notices.start_attempt(session, one, now=ledger.now())


def attempt(ledger: Ledger, notify: NotifyTable, told: ConfiguredChannel, one: Dispatch) -> bool:
    """One attempt, which is counted already, and its record; whether it arrived."""
    about = {"channel": told.name, "notice": one.notice.id, "kind": one.notice.kind}
    try:
        told.send(told.settings, message_of(one), now=ledger.now())
    except (NotSent, BadConfig) as error:
        last = one.attempts + 1 >= notify.attempts
        with ledger.begin() as session:
            wished = _wished(error, one, ledger.now())
            operations.notices.mark_failed(
                session, one.id, str(error), last=last, not_before=wished
            )
        log.warning("notice not sent", attempt=one.attempts + 1, last=last, why=str(error), **about)
        return False
    with ledger.begin() as session:
        operations.notices.mark_sent(session, one.id, now=ledger.now())
    log.info("notice sent", attempt=one.attempts + 1, **about)
    return True


def _wished(error: FactdError, one: Dispatch, now: datetime) -> datetime | None:
    """When a receiver wants to be tried again, within a day, where that is later than it would be anyway."""
    seconds = (isinstance(error, NotSent) and error.retry_seconds) or 0.0
    if seconds <= operations.notices.retry_wait_seconds(one.attempts):
        return None
    return now + timedelta(seconds=min(seconds, LONGEST_WISH_SECONDS))


def message_of(one: Dispatch) -> Message:
    """A notice as a channel sends it, without secrets. Its id is one for all attempts, and another when it is told again."""
    notice = one.notice
    what = (notice.id, notice.key, notice.first_at.isoformat(), one.channel, one.times)
    return Message(
        id=f"factd_{hashlib.sha256(repr(what).encode()).hexdigest()[:32]}",
        kind=notice.kind,
        text=without_secrets(notice.text),
        data=without_secret_fields(notice.data),
        first_at=notice.first_at,
        count=notice.count,
        over_at=notice.over_at,
        host=socket.gethostname(),
    )


def try_out(ledger: Ledger, channels: Mapping[str, ConfiguredChannel], name: str) -> Message:
    """Send a message over a channel now, to see that it arrives. Raises: Refused: no such channel. NotSent, BadConfig."""
    told = channels.get(name)
    if told is None:
        known = ", ".join(channels) or "none"
        raise Refused(f"no channel {name!r}; the configuration has: {known}")
    now, host = ledger.now(), socket.gethostname()
    message = Message(
        id=f"factd_test_{now.timestamp():.6f}",
        kind="test",
        text=f"factd on {host} can reach you over {name}",
        data={},
        first_at=now,
        count=1,
        over_at=None,
        host=host,
    )
    told.send(told.settings, message, now=now)
    return message
