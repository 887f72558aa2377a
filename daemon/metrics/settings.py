"""The configuration as the series need it, and the closed sets of label values."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from factd.daemon.config.schedule import longest_interval_seconds
from factd.daemon.config.secrets import without_secrets
from factd.daemon.configuration import Config
from factd.daemon.gates.policy import Gate

STEPS = ("pull", "cycle", "audit", "statistics", "prune")
CAUSES = ("exit", "killed", "memory", "stale", "timeout")
LEASES = ("clock", "writer", "servers")
TASK_KINDS = ("edit", "audit", "statistics")
LIMITED = ("edits", "facts", "publishes")  # kinds of limits a day
BUCKETS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
WRITES = {
    *("write", "checks", "gates", "blame", "screen", "method", "conflicts", "planning"),
    *("approvals", "limits"),
}


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """The part of the configuration that series show, or are compared with."""

    sources: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    intervals: Mapping[str, float] = field(default_factory=dict)  # seconds, by step; 0: off
    limits: Mapping[str, int] = field(default_factory=dict)  # a day, by kind; 0: no limit
    capacity: int = 1  # facts
    gates: tuple[Gate, ...] = ()
    fact_right: float = 0.0
    folders: Mapping[str, Path] = field(default_factory=dict)  # folders whose disks are shown
    digest: str = ""  # of the settings that decide what is written


def metrics_settings(
    config: Config, *, sources: Iterable[str], servers: Iterable[str], gates: tuple[Gate, ...]
) -> MetricsSettings:
    """The settings of a configuration. sources and servers: names of those that are switched on."""
    limits = config.limits
    per_day = (limits.edits_per_day, limits.facts_per_day, limits.publishes_per_day)
    return MetricsSettings(
        sources=tuple(sources),
        servers=tuple(servers),
        intervals={step: interval(config, step) for step in STEPS},
        limits=dict(zip(LIMITED, per_day, strict=True)),
        capacity=config.planning.capacity,
        gates=gates,
        fact_right=config.gates.fact_right,
        folders={"state": config.state_dir, "published": config.publish.path},
        digest=digest(config),
    )


def interval(config: Config, step: str) -> float:
    """The longest time between two ticks of a step, in seconds; 0: the step is off."""
    return longest_interval_seconds(getattr(config.schedule, step).schedule)


def digest(config: Config) -> str:
    """16 hexadecimal digits that all daemons of one database must share.

    Paths and secrets do not count.
    """
    text = config.model_dump_json(include=WRITES, exclude={"checks": {"texts"}})
    return hashlib.sha256(without_secrets(text).encode()).hexdigest()[:16]


def cause_of(text: str) -> str:
    """The recorded cause, if it is one of CAUSES, else "exit"."""
    return text if text in CAUSES else CAUSES[0]
