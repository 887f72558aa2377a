"""What the series need of the configuration, and the small closed sets that labels are taken from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from factd.daemon.app import App
from factd.daemon.config.load import Config
from factd.daemon.config.schedule import longest_interval_seconds
from factd.daemon.config.secrets import without_secrets
from factd.daemon.gates.policy import Gate

STEPS = ("pull", "cycle", "audit", "statistics", "prune")
CAUSES = ("exit", "killed", "memory", "stale", "timeout")
LEASES = ("clock", "writer", "servers")
TASK_KINDS = ("edit", "audit", "statistics")
LIMITED = ("edits", "facts", "publishes")  # a day
BUCKETS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
WRITES = {
    *("write", "checks", "gates", "blame", "screen", "method", "conflicts", "planning"),
    *("approvals", "limits"),
}


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What of the configuration is told or compared with."""

    sources: tuple[str, ...] = ()
    servers: tuple[str, ...] = ()
    intervals: Mapping[str, float] = field(default_factory=dict)  # seconds, by step; 0: it is off
    limits: Mapping[str, int] = field(default_factory=dict)  # a day, by what; 0: none
    capacity: int = 1  # facts
    gates: tuple[Gate, ...] = ()
    fact_right: float = 0.0
    folders: Mapping[str, Path] = field(default_factory=dict)  # whose disks are watched
    digest: str = ""  # of what decides what is written


def setup_of(app: App) -> Setup:
    """The setup of a configured factd."""
    config = app.config
    return Setup(
        sources=tuple(app.sources),
        servers=tuple(app.fleet.servers),
        intervals={step: interval(config, step) for step in STEPS},
        limits=dict(
            zip(
                LIMITED,
                (
                    config.limits.edits_per_day,
                    config.limits.facts_per_day,
                    config.limits.publishes_per_day,
                ),
                strict=True,
            )
        ),
        capacity=config.planning.capacity,
        gates=app.gates.gates,
        fact_right=config.gates.fact_right,
        folders={"state": config.state_dir, "published": config.publish.path},
        digest=digest(config),
    )


def interval(config: Config, step: str) -> float:
    """Seconds between the ticks of a step, the longest where they differ; 0: it is off."""
    return longest_interval_seconds(getattr(config.schedule, step).schedule)


def digest(config: Config) -> str:
    """Sixteen digits that two daemons of one database must share; paths and secrets are not in it."""
    text = config.model_dump_json(include=WRITES, exclude={"checks": {"texts"}})
    return hashlib.sha256(without_secrets(text).encode()).hexdigest()[:16]


def cause_of(text: str) -> str:
    """One of the causes, whatever was recorded."""
    return text if text in CAUSES else CAUSES[0]
