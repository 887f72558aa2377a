"""How a task reports its steps while it runs, and how it ended."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ReportStep = Callable[[str, Sequence[str]], None]  # step, ids of facts in hand


@dataclass(frozen=True, kw_only=True)
class TaskOutcome:
    """How a task ended, in words and for programs."""

    detail: str
    result: Mapping[str, Any] = field(default_factory=dict)
    failed: bool = False
