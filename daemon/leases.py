"""Leases: one process at a time runs the schedule, one changes releases, one hands releases over.

A holder renews its lease. Clocks of different machines are never compared: a process that waits for
a lease watches with its own monotonic clock whether it is renewed, and takes it if that did not
happen for `seconds`. It takes the lease at once if the holder has ended: a process of this machine,
or one whose advisory lock PostgreSQL has freed. A holder may also be only paused, and wake up
later. The epoch protects against that: each change of a release confirms the epoch in its own
transaction.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path

from sqlalchemy.orm import Session

from factd.daemon.errors import Busy
from factd.daemon.log import log
from factd.store import operations
from factd.store.database.advisory_lock import AdvisoryLock
from factd.store.database.session import Store
from factd.store.errors import Overtaken, StoreError
from factd.store.model.operations import Lease

LOOK_SECONDS = 0.2  # between two looks at a lease that is waited for
WORK = {  # what the holder of a lease does, for the sentence of Busy
    operations.leases.CLOCK: "runs the schedule",
    operations.leases.WRITER: "changes releases",
    operations.leases.SERVERS: "hands releases to servers",
}
Clock = Callable[[], float]


@cache
def machine() -> str:
    """This machine and its namespace of process ids, as a text that no other machine has."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            link = Path(path)
            parts.append(str(link.readlink()) if link.is_symlink() else link.read_text()[:8])
    return "/".join(parts)


def start_ticks(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty: it does not exist, or has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def this_process() -> str:
    """A name for this process that no other process has, now or later."""
    return f"{machine()}:{os.getpid()}:{start_ticks(os.getpid())}"


def has_ended(holder: str) -> bool:
    """The holder was a process of this machine and has ended; False if that cannot be known."""
    place, _, started = holder.rpartition(":")
    place, _, pid = place.rpartition(":")
    if place != machine() or not pid.isdigit() or not Path("/proc/self/stat").exists():
        return False
    return start_ticks(int(pid)) != started


def holder_text(holder: str) -> str:
    """A holder for operators: process id and host."""
    place, _, _ = holder.rpartition(":")
    place, _, pid = place.rpartition(":")
    return f"process {pid} on {place.split('/')[0]}" if pid else holder or "no process"


class Watch:
    """How long a value has not changed, by this process's own clock."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.value: object = None
        self.since = clock()

    def unchanged_seconds(self, value: object) -> float:
        """Seconds since the value was first seen unchanged."""
        if value != self.value:
            self.value, self.since = value, self.clock()
        return self.clock() - self.since

    def changed(self, value: object) -> bool:
        """The value differs from that of the last call. The first call sees no change."""
        before, self.value = self.value, value
        return before is not None and before != value


class LeaseClaim:
    """A process that waits for a lease, with what it has seen of the present holder."""

    def __init__(
        self, store: Store, name: str, seconds: float, now: Callable[[], datetime]
    ) -> None:
        self.store, self.name, self.seconds, self.now = store, name, seconds, now
        self.watch = Watch()
        self.seen: Lease | None = None
        self.advisory = AdvisoryLock(store.url, name)

    def attempt(self, *, seize: bool = False) -> "HeldLease | None":
        """The lease if it can be taken now, else None. seize: take it also from a holder that is
        alive.
        """
        with self.store.begin() as session:
            seen = operations.leases.lease(session, self.name, now=self.now())
        self.seen = seen
        silent = self.watch.unchanged_seconds((seen.epoch, seen.turns))
        freed = self.advisory.acquire()
        free = not seen.holder or has_ended(seen.holder) or silent >= self.seconds
        if not (free or freed or seize):
            return None
        try:
            with self.store.begin() as session:
                taken = operations.leases.take(session, seen, this_process(), now=self.now())
        except Overtaken:
            return None
        if seen.holder or self.name == operations.leases.CLOCK:
            log.info(
                "lease taken", lease=self.name, epoch=taken.epoch, before=holder_text(seen.holder)
            )
        return HeldLease(self.store, taken, self.seconds, self.now, self.advisory)

    def give_up(self) -> None:
        """Stop waiting."""
        self.advisory.release()


class HeldLease:
    """A lease that this process holds. A thread renews it until it is given back or lost."""

    def __init__(
        self,
        store: Store,
        lease: Lease,
        seconds: float,
        now: Callable[[], datetime],
        advisory: AdvisoryLock,
    ) -> None:
        self.store, self.lease, self.seconds, self.now = store, lease, seconds, now
        self.advisory = advisory
        self.lost, self.done = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._renew, name=f"lease {lease.name}", daemon=True)
        self.thread.start()

    @property
    def epoch(self) -> int:
        """The epoch of the lease.

        Later holders have a higher one, which fences earlier holders off.
        """
        return self.lease.epoch

    def _renew(self) -> None:
        while not self.done.wait(self.seconds / 4):
            try:
                with self.store.begin() as session:
                    operations.leases.renew(session, self.lease, now=self.now())
                self.advisory.acquire()
            except Overtaken:
                log.warning("lease lost", lease=self.lease.name, epoch=self.epoch)
                self.lost.set()
                return
            except StoreError as error:  # without the database no other process can take it either
                log.warning("lease not renewed", lease=self.lease.name, error=str(error))

    def confirm(self, session: Session) -> None:
        """Keep others from taking the lease over before this transaction ends.

        Raises: Overtaken: another process has taken it over.
        """
        try:
            operations.leases.confirm(session, self.lease)
        except Overtaken:
            self.lost.set()
            raise

    def check(self) -> None:
        """Raises: Overtaken: the lease is known to be lost."""
        if self.lost.is_set():
            raise Overtaken(f"the {self.lease.name} lease was taken over; this work is abandoned")

    def give_back(self) -> None:
        """Give the lease back, so that any process can take it at once."""
        self.done.set()
        self.thread.join(timeout=self.seconds)
        with suppress(StoreError), self.store.begin() as session:
            operations.leases.give_back(session, self.lease, now=self.now())
        self.advisory.release()


def take_lease(
    store: Store, name: str, seconds: float, now: Callable[[], datetime], *, seize: bool = False
) -> HeldLease:
    """Take a lease. Waits only while its holder may be dead. Raises: Busy: its holder is alive."""
    claim = LeaseClaim(store, name, seconds, now)
    until, watch = time.monotonic() + 2 * seconds, Watch()
    while time.monotonic() < until:
        held = claim.attempt(seize=seize)
        if held is not None:
            return held
        if watch.changed(claim.seen):
            break  # its holder is alive
        time.sleep(LOOK_SECONDS)
    claim.give_up()
    holder = holder_text(claim.seen.holder if claim.seen else "")
    work = WORK.get(name, f"holds the lease {name}")
    raise Busy(
        f"{holder} {work} now; try again when it is done "
        "(`factd status` shows what runs; `factd rollback --to N` does not wait)"
    )
