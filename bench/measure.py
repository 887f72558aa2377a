"""Shared tools of the benchmarks: time, operations, matrix rate, memory, documents."""

import hashlib
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
    """The duration of a piece of work."""

    seconds: float = 0.0


@contextmanager
def timed(device: torch.device | str = "cpu") -> Iterator[Clock]:
    """Measure wall time. The device's work is finished at both ends."""
    clock = Clock()
    synchronise(device)
    started = time.perf_counter()
    yield clock
    synchronise(device)
    clock.seconds = time.perf_counter() - started


def synchronise(device: torch.device | str) -> None:
    """Wait until a GPU has finished its work."""
    if str(device).startswith("cuda"):
        torch.cuda.synchronize()


class ModelTimer:
    """Seconds spent inside a model: its body, single blocks, its norm and its unembedding.

    Nested calls count once.
    """

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
        """A call of a part begins."""
        if not self.depth:
            self.since = time.perf_counter()
        self.depth += 1

    def leave(self) -> None:
        """A call of a part ends."""
        self.depth -= 1
        if not self.depth:
            self.seconds += time.perf_counter() - self.since

    def closed(self) -> float:
        """Remove the hooks. Returns the seconds."""
        for handle in self.handles:
            handle.remove()
        return self.seconds


def matrix_rate(device: torch.device | str, dtype: torch.dtype, *, size: int = 1024) -> float:
    """The attainable FLOP/s: measured on products of square matrices, the median of seven tries."""
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
    """Floating-point operations that torch counts: those of matrix products and attention."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def peak_mib(device: torch.device | str) -> float:
    """Peak memory so far in MiB: of a GPU, otherwise of this process."""
    if str(device).startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def environment(device: torch.device | str) -> dict[str, Any]:
    """The hardware, software versions, code, date and command of a measurement."""
    cuda = str(device).startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if cuda else cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "code": code_digest(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
    }


def command_line() -> str:
    """The command of this process, without folders: "factd bench edit --json"."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    name = f"python -m {spec.name}" if spec else Path(sys.argv[0]).name
    return " ".join([name.removesuffix(".__main__"), *sys.argv[1:]])


def code_digest() -> str:
    """A digest of factd's sources, 12 hexadecimal digits: which code made a measurement."""
    root = Path(__file__).resolve().parents[1]
    files = sorted(
        path
        for folder in ("bench", "daemon", "editor", "reference", "store")
        for path in (root / folder).rglob("*")
        if path.suffix in (".py", ".toml")
    )
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def cpu_name() -> str:
    """The processor's name."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def text_table(rows: Sequence[Row]) -> str:
    """Rows as text for a terminal, with aligned columns and short numbers."""
    head = list(rows[0])
    cells = [[short_text(row[name]) for name in head] for row in rows]
    widths = [max(len(line[n]) for line in [head, *cells]) for n in range(len(head))]
    lines = [
        "  ".join(
            c.ljust(w) if n == 0 else c.rjust(w)
            for n, (c, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in [head, *cells]
    ]
    return "\n".join(lines)


def short_text(value: Any) -> str:
    """A value as short text; empty for None."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return str(value)


def document(
    name: str, device: torch.device | str, rows: Sequence[Row], **more: Any
) -> dict[str, Any]:
    """The results of one benchmark, ready for JSON. more: further keys."""
    return {"benchmark": name, **environment(device), "rows": [dict(row) for row in rows], **more}


def print_document(results: Mapping[str, Any], *, as_json: bool) -> None:
    """Print a document as a table, or as JSON."""
    if as_json:
        print(json.dumps(results, ensure_ascii=False, indent=1))
        return
    print(
        f"{results['device']}, {results['threads']} threads, "
        f"torch {results['torch']}, {results['date']}"
    )
    print(text_table(results["rows"]))
    for key, value in results.items():
        if key not in ("rows", "benchmark", *environment("cpu")):
            print(f"{key}: {short_text(value) if not isinstance(value, dict) else value}")
