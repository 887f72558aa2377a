"""Jumps of the wall clock: somebody has set it, so what is due must be looked at again."""

import time
from collections.abc import Callable
from datetime import datetime

JUMP_SECONDS = 5  # larger differences between wall and monotonic clock, within a pass, are jumps


class ClockJumps:
    """Detects that the wall clock was set: its distance from the monotonic clock changes."""

    def __init__(
        self, now: Callable[[], datetime], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.now, self.monotonic = now, monotonic
        self.distance = self._distance()

    def _distance(self) -> float:
        return self.now().timestamp() - self.monotonic()

    def has_jumped(self) -> bool:
        """Whether the wall clock was set since the last call."""
        before, self.distance = self.distance, self._distance()
        return abs(self.distance - before) > JUMP_SECONDS
