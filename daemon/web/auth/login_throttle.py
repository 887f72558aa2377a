"""The limit on failed logins, by account or by address.

It is kept in memory, and the memory is bounded.
"""

from collections import OrderedDict

SPAN_SECONDS = 900
REMEMBERED = 10_000  # keys; the key that failed longest ago is forgotten first


class LoginThrottle:
    """Counts failures in the last quarter of an hour by key: an account's name or an address."""

    def __init__(self, most: int, *, remembered: int = REMEMBERED) -> None:
        self.most, self.remembered = most, remembered
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait_seconds(self, key: str, *, now: float) -> float:
        """Seconds until this key may try again; 0: now."""
        recent = self._recent(key, now)
        return recent[-self.most] + SPAN_SECONDS - now if len(recent) >= self.most else 0.0

    def note(self, key: str, *, now: float) -> None:
        """Count an attempt as a failure, until `forget`."""
        self._failed[key] = [*self._recent(key, now), now][-self.most :]
        self._failed.move_to_end(key)
        while len(self._failed) > self.remembered:
            self._failed.popitem(last=False)

    def forget(self, key: str) -> None:
        """The key succeeded: forget its failures."""
        self._failed.pop(key, None)

    def _recent(self, key: str, now: float) -> list[float]:
        return [at for at in self._failed.get(key, ()) if at > now - SPAN_SECONDS]
