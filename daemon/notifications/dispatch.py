"""Bring the notices up to date, and send each channel the messages that are due.

Cheap if nothing is due.

A channel that is down does not delay the others: after one failed attempt it is not tried again in
the same call. If the process crashes between a message and its record, the message is sent again
with the same id.
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
from factd.daemon.config.secrets import without_secrets
from factd.daemon.config.tables import NotifyTable
from factd.daemon.errors import BadConfig, FactdError, NotSent, Refused
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.log import carried, log, without_secret_fields
from factd.daemon.notifications import notices
from factd.daemon.notifications.notices import DesiredNotice
from factd.daemon.planning.limits import PlanningRules
from factd.daemon.plugins import ConfiguredChannel
from factd.store import operations, views
from factd.store.database.session import Store
from factd.store.model.operations import Dispatch
from factd.store.model.releases import Release
from factd.store.model.snapshot import Snapshot

MOST_MESSAGES = 20  # over one channel in one call
LONGEST_WAIT_SECONDS = 86_400  # that a receiver may ask for
CALL_SECONDS = 60.0  # after this time a call begins no further message over a channel
PARALLEL_CHANNELS = 8


def never() -> bool:
    """Never stop early."""
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
    """Update the notices and send the messages that are due; the number of messages that arrived.

    waiting: releases that wait for an operator. limit: a sentence about a limit of the day that was
    reached. stopping: begin no further message once it returns True. Raises: StoreError: the
    database does not answer. BadConfig: a channel's table is wrong. A channel that does not answer
    raises nothing.
    """
    desired = desired_notices(ledger, planning, fleet, notify, waiting=waiting, limit=limit)
    update_notices(ledger, channels, desired)
    now = ledger.now()
    with ledger.read() as session:
        with_messages = [
            channel
            for name, channel in channels.items()
            if operations.notices.due(session, name, now=now, limit=1)
        ]
    if not with_messages:
        return 0
    send = carried(partial(send_due, ledger, notify, stopping=stopping))
    with ThreadPoolExecutor(max_workers=PARALLEL_CHANNELS, thread_name_prefix="notify") as pool:
        return sum(pool.map(send, with_messages))


def desired_notices(
    ledger: Ledger,
    planning: PlanningRules,
    fleet: Fleet,
    notify: NotifyTable,
    *,
    waiting: Iterable[Release] = (),
    limit: str = "",
) -> tuple[DesiredNotice, ...]:
    """The notices that should be open now."""
    numbers = tuple(release.number for release in waiting)
    with ledger.read() as session:
        snapshot = views.snapshots.snapshot(
            session, now=ledger.now(), waiting=numbers, servers=fleet.servers, limit=limit
        )
    if notify.budget_leverage:
        snapshot = _with_leverage(ledger.store, snapshot)
    return notices.find(snapshot, notify, capacity=planning.batch.capacity)


def _with_leverage(store: Store, snapshot: Snapshot) -> Snapshot:
    """The snapshot with the highest leverage of the live release."""
    live = snapshot.live
    if live is None or live.candidate_id is None:
        return snapshot
    return replace(snapshot, live=replace(live, leverage=_leverage(store, live.candidate_id)))


@lru_cache(maxsize=4)
def _leverage(store: Store, candidate: int) -> float | None:
    """The highest leverage of an accepted candidate.

    Cached: its report is long and does not change.
    """
    with store.read() as session:
        return views.snapshots.highest_leverage(session, candidate)


def update_notices(
    ledger: Ledger, channels: Mapping[str, ConfiguredChannel], desired: tuple[DesiredNotice, ...]
) -> None:
    """Make the open notices the desired ones, and queue the messages of each channel.

    Nothing is written if nothing changes.
    """
    now = ledger.now()
    with ledger.read() as session:
        unqueued = any(any(_to_queue(session, c, now)) for c in channels.values())
        difference = notices.changes(operations.notices.open_notices(session), desired)
    if not (unqueued or difference.opened or difference.ended):
        return
    with ledger.begin() as session:
        changed = notices.reconcile(session, desired, now=now)
        for channel in channels.values():
            new, stale = _to_queue(session, channel, now)
            operations.notices.dispatch(session, channel.name, new)
            operations.notices.requeue(session, stale)
    log.info("notices changed", changed=changed)


def _to_queue(
    session: Session, channel: ConfiguredChannel, now: datetime
) -> tuple[list[int], list[int]]:
    """Notices that a channel was never given, and dispatches that the channel must repeat."""
    kinds, hours = channel.settings.kinds, channel.settings.repeat_hours
    before = now - timedelta(hours=hours)
    stale = (
        operations.notices.stale_dispatches(session, channel.name, before=before) if hours else []
    )
    return operations.notices.undispatched(session, channel.name, kinds), stale


def send_due(
    ledger: Ledger,
    notify: NotifyTable,
    channel: ConfiguredChannel,
    *,
    stopping: Callable[[], bool] = never,
) -> int:
    """Send the messages that are due over one channel; the number of messages that arrived.

    Stops at the first message that does not arrive, or when the time is up.
    """
    arrived, until = 0, time.monotonic() + CALL_SECONDS
    with ledger.read() as session:
        due = operations.notices.due(session, channel.name, now=ledger.now(), limit=MOST_MESSAGES)
    for dispatch_ in due:
        if stopping() or time.monotonic() > until:
            break
        is_ours = _begin_attempt(ledger, notify, dispatch_)
        if is_ours and not attempt(ledger, notify, channel, dispatch_):
            break
        arrived += is_ours
    return arrived


def _begin_attempt(ledger: Ledger, notify: NotifyTable, dispatch_: Dispatch) -> bool:
    """Count an attempt before it is made.

    False: another process makes it, or all attempts are used up because each ended with its
    process.
    """
    last = dispatch_.attempts >= notify.attempts
    with ledger.begin() as session:
        if last:
            operations.notices.mark_failed(
                session, dispatch_.id, "every attempt ended with its process", last=True
            )
            return False
        return operations.notices.start_attempt(session, dispatch_, now=ledger.now())


def attempt(
    ledger: Ledger, notify: NotifyTable, channel: ConfiguredChannel, dispatch_: Dispatch
) -> bool:
    """Make an attempt that is counted already, and record how it ended; True if the message
    arrived.
    """
    notice = dispatch_.notice
    about = {"channel": channel.name, "notice": notice.id, "kind": notice.kind}
    try:
        channel.send(channel.settings, message_of(dispatch_), now=ledger.now())
    except (NotSent, BadConfig) as error:
        last = dispatch_.attempts + 1 >= notify.attempts
        with ledger.begin() as session:
            not_before = _wanted_by_receiver(error, dispatch_, ledger.now())
            operations.notices.mark_failed(
                session, dispatch_.id, str(error), last=last, not_before=not_before
            )
        made = dispatch_.attempts + 1
        log.warning("notice not sent", attempt=made, last=last, why=str(error), **about)
        return False
    with ledger.begin() as session:
        operations.notices.mark_sent(session, dispatch_.id, now=ledger.now())
    log.info("notice sent", attempt=dispatch_.attempts + 1, **about)
    return True


def _wanted_by_receiver(error: FactdError, dispatch_: Dispatch, now: datetime) -> datetime | None:
    """When the receiver wants the next attempt; None if that is no later than usual."""
    seconds = (isinstance(error, NotSent) and error.retry_seconds) or 0.0
    if seconds <= operations.notices.retry_wait_seconds(dispatch_.attempts):
        return None
    return now + timedelta(seconds=min(seconds, LONGEST_WAIT_SECONDS))


def message_of(dispatch_: Dispatch) -> Message:
    """A notice as the message of a channel, without secrets.

    The id is the same for all attempts, and a new one each time the notice is repeated.
    """
    notice = dispatch_.notice
    what = (
        notice.id,
        notice.key,
        notice.first_at.isoformat(),
        dispatch_.channel,
        dispatch_.times,
    )
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


def send_test_message(
    ledger: Ledger, channels: Mapping[str, ConfiguredChannel], name: str
) -> Message:
    """Send a test message over a channel now.

    Raises: Refused: there is no such channel. NotSent, BadConfig.
    """
    channel = channels.get(name)
    if channel is None:
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
    channel.send(channel.settings, message, now=now)
    return message
