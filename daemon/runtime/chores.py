"""What the loop sees to besides its jobs: telling people, and bringing releases to servers.

Each runs in a thread of the clock, so that a channel or a server that is slow holds up nothing.
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

TELL_SECONDS = 10  # between looks for what people should know
SERVE_SECONDS = 2  # between looks for what is to be handed to servers


class Chores:
    """When each was last begun; only who has the clock does them."""

    def __init__(self, app: App, clock: BackgroundScheduler, stopping: Callable[[], bool]) -> None:
        self.app, self.clock, self.stopping = app, clock, stopping
        self.told = self.served = time.monotonic()
        self.watched = 0.0  # when it was last looked at what servers serve
        self.serving = threading.Lock()  # held while something is handed over

    def turn(self) -> None:
        """Begin what is due."""
        now = time.monotonic()
        if now - self.told > TELL_SECONDS:
            self.told = now
            self.clock.add_job(self.tell, id="notices", replace_existing=True)
        if not self.app.fleet.servers or now - self.served < SERVE_SECONDS or self.serving.locked():
            return
        watch = now - self.watched > self.app.config.servers.watch_seconds
        self.served, self.watched = now, now if watch else self.watched
        self.clock.add_job(self.serve, id="servers", args=(watch,), replace_existing=True)

    def tell(self) -> None:
        """Let people know what they should."""
        try:
            jobs.tell(self.app, self.stopping)
        except StoreError as error:
            log.warning("nobody was told", error=str(error))

    def serve(self, watch: bool) -> None:
        """Hand over what is due. watch: also look at what servers serve."""
        with self.serving:
            try:
                jobs.serve(self.app, self.stopping, watch=watch)
            except (StoreError, FactdError) as error:
                log.warning("nothing was handed over", error=str(error))
