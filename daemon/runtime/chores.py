"""Regular work of the daemon besides its jobs: notifications, and hand-overs to servers.

Each chore runs in a thread of the scheduler, so that a slow channel or server delays nothing else.
"""

import threading
import time
from collections.abc import Callable

from apscheduler.schedulers.background import BackgroundScheduler

from factd.daemon.app import App
from factd.daemon.errors import FactdError
from factd.daemon.log import log
from factd.daemon.runtime import jobs
from factd.store.errors import StoreError

NOTIFY_SECONDS = 10  # between looks for what people should be notified of
HAND_OVER_SECONDS = 2  # between looks for releases that are due at servers


class Chores:
    """Starts each chore when it is due. Only the daemon that has the clock calls it."""

    def __init__(self, app: App, clock: BackgroundScheduler, stopping: Callable[[], bool]) -> None:
        self.app, self.clock, self.stopping = app, clock, stopping
        self.notified = self.handed_over = time.monotonic()  # when each was last started
        self.watched = 0.0  # when servers were last asked which release they serve
        self.handing_over = threading.Lock()  # held while a hand-over runs

    def start_due(self) -> None:
        """Start the chores that are due."""
        now = time.monotonic()
        if now - self.notified > NOTIFY_SECONDS:
            self.notified = now
            self.clock.add_job(self.notify, id="notices", replace_existing=True)
        if not self.app.fleet.servers or now - self.handed_over < HAND_OVER_SECONDS:
            return
        if self.handing_over.locked():
            return
        watch = now - self.watched > self.app.config.servers.watch_seconds
        self.handed_over, self.watched = now, now if watch else self.watched
        self.clock.add_job(self.hand_over, id="servers", args=(watch,), replace_existing=True)

    def notify(self) -> None:
        """Notify people of what they should know."""
        try:
            jobs.notify(self.app, self.stopping)
        except StoreError as error:
            log.warning("nobody was told", error=str(error))

    def hand_over(self, watch: bool) -> None:
        """Hand over the releases that are due. watch: also ask servers which release they serve."""
        with self.handing_over:
            try:
                jobs.hand_over(self.app, self.stopping, watch=watch)
            except (StoreError, FactdError) as error:
                log.warning("nothing was handed over", error=str(error))
