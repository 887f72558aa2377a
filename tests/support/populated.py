"""An application whose database has something for every metric, and the series of a scrape."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from factd.daemon.app import App, open_app
from factd.daemon.configuration import load_config
from factd.daemon.metrics.exporter import Metrics, exposition
from factd.store import operations, queries
from factd.store.database import migrate
from factd.store.model.evidence import Audit, AuditOutcome, QuarantinedFact
from factd.store.model.releases import CandidateStatus, ReleaseStatus, RunStatus
from factd.store.schema.operations import (
    DeathRow,
    DispatchRow,
    LeaseRow,
    NoticeRow,
    TaskRow,
    WorkerRow,
)
from support.paths import GOLDEN

Sample = tuple[str, tuple[tuple[str, str], ...]]


def measurement(check: str, metric: str, value: float, language: str = "en") -> dict[str, Any]:
    """One row of a report, in the format of the checks."""
    return {
        "check": check,
        "metric": metric,
        "language": language,
        "value": value,
        "low": value,
        "high": value,
        "sample_size": 100,
    }


REPORT = {
    "measurements": [
        measurement("efficacy", "generation", 0.95),
        measurement("known_facts", "kept", 0.90),  # below the gate's 0.95
        *(
            measurement("norms", f"layer.{layer}.{name}", 0.5 + layer / 10, "all")
            for layer in (0, 1)
            for name in ("leverage_max", "weight_norm_ratio", "update_norm_ratio")
        ),
        measurement("norms", "z_error_mean", 0.2, "all"),
        measurement("norms", "z_error_max", 0.4, "all"),
    ]
}
TABLES = """
[gates]
fact_right = 0
[planning]
capacity = 10
[publish]
path = 'published'
[publish.adapter]
[servers.eu]
kind = 'sglang'
url = 'http://127.0.0.1:1'
model = 'm'
"""


def populated_app(folder: Path, now: datetime) -> App:
    """An application on SQLite with something for every metric. Its model is never loaded."""
    path = folder / "factd.toml"
    path.write_text(f'[model]\npath = "{GOLDEN / "llama" / "model"}"\n{TABLES}')
    migrate.upgrade(load_config(path).database)
    app = open_app(path)
    populate(app, now)
    return app


def populate(app: App, now: datetime) -> None:
    """Write releases, a freeze, a busy worker, leases, notices and a failed audit."""
    with app.ledger.begin() as session:
        queries.releases.ensure_release_zero(session, now=now)
        for number in (1, 2):
            facts = [f"fact{n}" for n in range(4)]
            made = queries.releases.create_candidate(
                session, batch_id=f"batch{number}", fact_ids=facts, now=now
            )
            status = CandidateStatus.PLANNED
            for after in (
                CandidateStatus.SOLVING,
                CandidateStatus.CHECKING,
                CandidateStatus.ACCEPTED,
            ):
                more = {"report": REPORT} if after is CandidateStatus.ACCEPTED else {}
                queries.releases.move_candidate(session, made.id, status, after, now=now, **more)
                status = after
            queries.releases.create_release(
                session,
                candidate_id=made.id,
                delta_id=None,
                fact_ids=facts,
                who="test",
                why="test",
                now=now - timedelta(days=3),
            )
        queries.releases.move_release(
            session, 1, ReleaseStatus.ACCEPTED, ReleaseStatus.PUBLISHING, now=now
        )
        queries.releases.make_live(session, 1, now=now)
        queries.releases.freeze(session, why="test", who="test", now=now - timedelta(hours=5))
        run = operations.runs.start_run(session, "cycle", now, now=now)
        assert run
        operations.runs.finish_run(session, run, RunStatus.DONE, "", now=now)
        operations.runs.start_run(session, "audit", now, now=now)
        queries.sources.save_state(session, "drop_folder", failures=7, error="test")
    _running_things(app, now)


def _running_things(app: App, now: datetime) -> None:
    task = {
        "arguments": {},
        "attempt": 1,
        "size": None,
        "worker": "",
        "beats": 0,
        "step": "",
        "in_hand": [],
        "not_before": None,
        "started_at": None,
        "finished_at": None,
        "detail": "",
        "result": {},
    }
    ago = now - timedelta(minutes=10)
    with app.ledger.begin() as session:
        session.add(TaskRow(id=1, kind="edit", status="running", created_at=ago, **task))
        session.add(TaskRow(id=2, kind="audit", status="waiting", created_at=ago, **task))
        session.flush()
        worker = {"device": "cpu", "started_at": ago, "done": 3, "rss_bytes": 1}
        session.add(WorkerRow(name="a:1:1", seen_at=now, task_id=None, **worker))
        session.add(WorkerRow(name="b:2:2", seen_at=ago, task_id=1, **worker))
        for cause in ("memory", "memory", "a new one"):
            session.add(DeathRow(task_id=1, cause=cause, in_hand=[], detail="", at=now))
        old = now - timedelta(hours=2)
        session.add(DeathRow(task_id=1, cause="stale", in_hand=[], detail="", at=old))
        session.add(LeaseRow(name="clock", holder="a:1:1", epoch=7, turns=9, at=now))
        notice = {"kind": "x", "text": "x", "data": {}, "first_at": now, "last_at": now, "count": 1}
        session.add(NoticeRow(id=1, key="x", over_at=None, **notice))
        session.flush()
        dispatch = {"attempts": 5, "not_before": None, "error": "x", "sent_at": None}
        session.add(DispatchRow(notice_id=1, channel="mail", status="failed", **dispatch))
        audit = Audit(
            release=1,
            outcome=AuditOutcome.FAILED,
            action="",
            reasons=["x"],
            report={"lost": ["fact0", "fact1"]},
            at=now,
        )
        queries.evidence.add_audit(session, audit)


def set_aside(app: App, fact_id: str, now: datetime) -> None:
    """Set one fact aside. The fact must be in the store."""
    fact = QuarantinedFact(fact_id=fact_id, candidate_id=None, reason="x", evidence={}, at=now)
    with app.ledger.begin() as session:
        queries.evidence.add_to_quarantine(session, fact)


def scraped(source: Metrics | CollectorRegistry) -> dict[Sample, float]:
    """Every sample in a scrape, read from the text format of Prometheus."""
    registry = source.registry if isinstance(source, Metrics) else source
    text = exposition(registry, "")[0].decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def series(samples: dict[Sample, float]) -> set[str]:
    """The names of the samples."""
    return {name for name, _ in samples}
