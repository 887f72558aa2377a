"""How long a search may take, and whether the next piece of work still fits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MEASURED = 2  # pieces of work of one kind, the last ones, that the next is expected to be like


@dataclass
class TimeBudget:
    """A bound on time. Work of a kind is expected to take as long as the work before it did."""

    seconds: float
    clock: Callable[[], float]  # seconds that only rise, as `time.monotonic`
    took: dict[str, list[float]] = field(default_factory=dict)  # kind of work -> seconds of each
    skipped: list[str] = field(default_factory=list)  # what did not fit, for the report
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def spent(self) -> float:
        """Seconds since the budget was made."""
        return self.clock() - self.started

    @property
    def left(self) -> float:
        """Seconds that are left; below 0 if the work took longer than it might."""
        return self.seconds - self.spent

    def expected(self, kind: str, *, guess: float = 0.0) -> float:
        """Seconds that work of a kind takes: the most of its last ones.

        guess: the answer if there was none yet.
        """
        return max(self.took.get(kind, [guess])[-MEASURED:])

    def allows(self, kind: str, what: str, *, reserve: float = 0.0, guess: float = 0.0) -> bool:
        """Whether work of a kind still fits. If it does not, `what` is noted as skipped.

        reserve: seconds that must be left behind it. guess: see `expected`.
        """
        if self.left > self.expected(kind, guess=guess) + reserve:
            return True
        self.skipped.append(what)
        return False

    @contextmanager
    def measured(self, kind: str) -> Iterator[None]:
        """Remember how long a piece of work takes."""
        begin = self.clock()
        yield
        self.took.setdefault(kind, []).append(self.clock() - begin)
