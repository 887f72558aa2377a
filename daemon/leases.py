"""Who may tick, and who may change releases: leases that are renewed, watched and taken over.

Nobody compares clocks: who waits for a lease watches with its own monotonic clock whether it is renewed, and takes it when it was
not for `seconds`, at once where its holder has gone (a process of this machine, or one whose advisory lock PostgreSQL has freed).
What saves us from a holder that was only paused is the epoch: each change of a release confirms it in its own transaction.
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

LOOK_SECONDS = 0.2
Clock = Callable[[], float]


@cache
def machine() -> str:
    """This machine and its space of process ids, as far as they can be told apart from others."""
    parts = [socket.gethostname()]
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/ns/pid"):
        with suppress(OSError):
            link = Path(path)
            parts.append(str(link.readlink()) if link.is_symlink() else link.read_text()[:8])
    return "/".join(parts)


def born(pid: int) -> str:
    """When a process started, in ticks since the machine did; empty: there is none, or it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]


def me() -> str:
    """This process, unlike any other."""
    return f"{machine()}:{os.getpid()}:{born(os.getpid())}"


def is_gone(holder: str) -> bool:
    """A process of this machine that has ended; False where that cannot be told."""
    place, _, rest = holder.rpartition(":")
    place, _, pid = place.rpartition(":")
    if place != machine() or not pid.isdigit() or not Path("/proc/self/stat").exists():
        return False
    return born(int(pid)) != rest


def shown(holder: str) -> str:
    """A holder for people: host and process id."""
    place, _, _ = holder.rpartition(":")
    place, _, pid = place.rpartition(":")
    return f"process {pid} on {place.split('/')[0]}" if pid else holder or "nobody"


class Watch:
    """For how long something has not changed, by this process's own clock."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self.clock = clock
        self.value: object = None
        self.since = clock()

    def unchanged_seconds(self, value: object) -> float:
        """Seconds since the value was first seen as it is now."""
        if value != self.value:
            self.value, self.since = value, self.clock()
        return self.clock() - self.since

    def changed(self, value: object) -> bool:
        """Whether it is another one than at the last look; the first look sees no change."""
        before, self.value = self.value, value
        return before is not None and before != value


class Claim:
    """Somebody who wants a lease: looks, waits, takes."""

    def __init__(
        self, store: Store, name: str, seconds: float, now: Callable[[], datetime]
    ) -> None:
        self.store, self.name, self.seconds, self.now = store, name, seconds, now
        self.watch = Watch()
        self.seen: Lease | None = None
        self.advisory = AdvisoryLock(store.url, name)

    def attempt(self, *, seize: bool = False) -> "Held | None":
        """The lease, if it can be had now. seize: also from somebody who is well."""
        with self.store.begin() as session:
            seen = operations.leases.lease(session, self.name, now=self.now())
        self.seen = seen
        silent = self.watch.unchanged_seconds((seen.epoch, seen.turns))
        freed = self.advisory.acquire()
        free = not seen.holder or is_gone(seen.holder) or silent >= self.seconds
        if not (free or freed or seize):
            return None
        try:
            with self.store.begin() as session:
                taken = operations.leases.take(session, seen, me(), now=self.now())
        except Overtaken:
            return None
        if seen.holder or self.name == operations.leases.CLOCK:
            log.info("lease taken", lease=self.name, epoch=taken.epoch, before=shown(seen.holder))
        return Held(self.store, taken, self.seconds, self.now, self.advisory)

    def give_up(self) -> None:
        """Wait no longer."""
        self.advisory.release()


class Held:
    """A lease that this process holds. A thread renews it until it is given back, or lost."""

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
        self.thread = threading.Thread(target=self._keep, name=f"lease {lease.name}", daemon=True)
        self.thread.start()

    @property
    def epoch(self) -> int:
        """What fences: later holders have a higher one."""
        return self.lease.epoch

    def _keep(self) -> None:
        while not self.done.wait(self.seconds / 4):
            try:
                with self.store.begin() as session:
                    operations.leases.renew(session, self.lease, now=self.now())
                self.advisory.acquire()
            except Overtaken:
                log.warning("lease lost", lease=self.lease.name, epoch=self.epoch)
                self.lost.set()
                return
            except StoreError as error:  # the database is away: nobody else can take it either
                log.warning("lease not renewed", lease=self.lease.name, error=str(error))

    def confirm(self, session: Session) -> None:
        """Nobody takes over before this transaction has ended. Raises: Overtaken."""
        try:
            operations.leases.confirm(session, self.lease)
        except Overtaken:
            self.lost.set()
            raise

    def check(self) -> None:
        """Raises: Overtaken: it was lost, as far as is known already."""
        if self.lost.is_set():
            raise Overtaken(f"the {self.lease.name} lease was taken over; this work is abandoned")

    def give_back(self) -> None:
        """Free for anybody at once."""
        self.done.set()
        self.thread.join(timeout=self.seconds)
        with suppress(StoreError), self.store.begin() as session:
            operations.leases.give_back(session, self.lease, now=self.now())
        self.advisory.release()


def taken(
    store: Store, name: str, seconds: float, now: Callable[[], datetime], *, seize: bool = False
) -> Held:
    """Take a lease. Wait only if its holder may be dead. Raises: Busy: its holder is at work."""
    claim = Claim(store, name, seconds, now)
    until, watch = time.monotonic() + 2 * seconds, Watch()
    while time.monotonic() < until:
        held = claim.attempt(seize=seize)
        if held is not None:
            return held
        if watch.changed(claim.seen):
            break  # its holder is alive
        time.sleep(LOOK_SECONDS)
    claim.give_up()
    raise Busy(
        f"{shown(claim.seen.holder if claim.seen else '')} changes releases now; try again when it is done "
        "(`factd status` shows it; `factd rollback --to N` does not wait)"
    )
