"""The peak memory of a piece of work, from Linux's own counter."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SELF = Path("/proc/self")


@dataclass
class Peak:
    """The highest resident memory of this process during a piece of work."""

    mib: float | None = None  # None: the system does not say


@contextmanager
def peak_memory() -> Iterator[Peak]:
    """Measure the peak of a block. It includes what the process held before, such as the model."""
    peak = Peak()
    try:
        (SELF / "clear_refs").write_text("5")  # sets the peak to the present size; proc(5)
    except OSError:
        yield peak
        return
    yield peak
    found = re.search(r"VmHWM:\s+(\d+) kB", (SELF / "status").read_text(encoding="ascii"))
    peak.mib = int(found[1]) / 1024 if found else None
