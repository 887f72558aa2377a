"""What every benchmark needs: the device's own rate, counted operations, time, peak memory, and the document they go into."""

import json
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from factd.editor.models.model import EditableModel

Row = Mapping[str, Any]


@dataclass
class Clock:
    """Seconds of a piece of work."""

    seconds: float = 0.0


@contextmanager
def timed(device: torch.device | str = "cpu") -> Iterator[Clock]:
    """Wall time, with the device's work finished at both ends."""
    clock = Clock()
    synchronise(device)
    started = time.perf_counter()
    yield clock
    synchronise(device)
    clock.seconds = time.perf_counter() - started


def synchronise(device: torch.device | str) -> None:
    """Wait for a GPU."""
    if str(device).startswith("cuda"):
        torch.cuda.synchronize()


class ModelTimer:
    """Seconds inside a model: its body, its blocks run one by one, its norm and its unembedding; what is nested counts once."""

    def __init__(self, model: EditableModel) -> None:
        self.seconds, self.depth, self.since = 0.0, 0, 0.0
        named = (model.family.norm, model.family.unembedding)
        parts = [
            model.model.base_model,
            *model.blocks,
            *map(model.model.get_submodule, named),
        ]
        self.handles = [
            handle
            for part in parts
            for handle in (
                part.register_forward_pre_hook(lambda *_: self.enter()),
                part.register_forward_hook(lambda *_: self.leave()),
            )
        ]

    def enter(self) -> None:
        """A pass begins."""
        if not self.depth:
            self.since = time.perf_counter()
        self.depth += 1

    def leave(self) -> None:
        """It ends."""
        self.depth -= 1
        if not self.depth:
            self.seconds += time.perf_counter() - self.since

    def closed(self) -> float:
        """The seconds, with the hooks taken off."""
        for handle in self.handles:
            handle.remove()
        return self.seconds


def matrix_rate(device: torch.device | str, dtype: torch.dtype, *, size: int = 1024) -> float:
    """Measured FLOP/s of a product of square matrices, the median of some tries: what can be attained."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    b = torch.randn(size, size, device=device, dtype=dtype)
    rates = []
    for _ in range(7):
        with timed(device) as clock:
            for _ in range(8):
                a @ b
        rates.append(8 * 2 * size**3 / clock.seconds)
    return median(rates)


def count_operations(work: Callable[[], Any]) -> int:
    """Floating-point operations of a piece of work, counted by torch (matrix products and attention)."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def peak_mib(device: torch.device | str) -> float:
    """Peak memory so far, MiB: of the device, or of this process."""
    if str(device).startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def environment(device: torch.device | str) -> dict[str, Any]:
    """Where and with what something was measured."""
    cuda = str(device).startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if cuda else cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(sys.argv),
    }


def cpu_name() -> str:
    """The processor, as the system calls it."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def text_table(rows: Sequence[Row]) -> str:
    """Rows for a terminal, columns aligned; numbers short."""
    head = list(rows[0])
    said = [[short_text(row[name]) for name in head] for row in rows]
    wide = [max(len(line[n]) for line in [head, *said]) for n in range(len(head))]
    lines = [
        "  ".join(
            c.ljust(w) if n == 0 else c.rjust(w)
            for n, (c, w) in enumerate(zip(line, wide, strict=True))
        )
        for line in [head, *said]
    ]
    return "\n".join(lines)


def short_text(value: Any) -> str:
    """A number as people read it; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def document(
    name: str, device: torch.device | str, rows: Sequence[Row], **more: Any
) -> dict[str, Any]:
    """One benchmark as JSON."""
    return {"benchmark": name, **environment(device), "rows": [dict(row) for row in rows], **more}


def print_document(found: Mapping[str, Any], *, as_json: bool) -> None:
    """A document as a table, or as itself."""
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
        return
    print(f"{found['device']}, {found['threads']} threads, torch {found['torch']}, {found['date']}")
    print(text_table(found["rows"]))
    for key, value in found.items():
        if key not in ("rows", "benchmark", *environment("cpu")):
            print(f"{key}: {short_text(value) if not isinstance(value, dict) else value}")
