"""The snapshot from which notices are derived, read from a database that real code filled."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import text

from factd.daemon.app import App
from factd.daemon.ingestion.pull import ingest_file
from factd.daemon.notifications import dispatch
from factd.daemon.publishing import publish
from factd.store import operations, queries, views
from factd.store.model.evidence import Audit, AuditOutcome, QuarantinedFact
from factd.store.model.releases import CandidateStatus, ReleaseStatus, RunStatus
from factd.store.model.snapshot import Snapshot
from factd.store.schema.operations import DeathRow, TaskRow
from support.world import NOW, Clock, Maker, claim, jsonl

C = CandidateStatus
STEPS = (C.PLANNED, C.SOLVING, C.CHECKING)
LEVERAGES = {
    "layer.0.leverage_max": 0.4,
    "layer.1.leverage_max": 0.97,
    "layer.2.leverage_max": None,
}
REPORT = {"measurements": [{"metric": m, "value": value} for m, value in LEVERAGES.items()]}


@pytest.fixture
def app(make: Maker, tmp_path: Path) -> Iterator[App]:
    app = make("")
    with app.ledger.begin() as session:
        queries.releases.ensure_release_zero(session, now=NOW)
    ingest_file(app.ledger, app.prompts, jsonl(tmp_path / "one.jsonl", [claim("HR", "EUR")]))
    yield app


def snapshot(app: App) -> Snapshot:
    with app.ledger.read() as session:
        return views.snapshots.snapshot(session, now=app.ledger.now())


def candidate(app: App, last: CandidateStatus) -> int:
    with app.ledger.begin() as session:
        made = queries.releases.create_candidate(
            session, batch_id="b", fact_ids=["f1", "f2"], now=NOW
        )
        path = [*STEPS[: STEPS.index(last) + 1]] if last in STEPS else [*STEPS, last]
        for before, after in pairwise(path):
            values = {"report": REPORT, "reasons": ["it failed"]} if after is last else {}
            queries.releases.move_candidate(session, made.id, before, after, now=NOW, **values)
    return made.id


def the_fact(app: App) -> str:
    with app.ledger.read() as session:
        return str(session.execute(text("SELECT id FROM facts")).scalar_one())


def test_a_fresh_database_has_no_notices(app: App) -> None:
    state = snapshot(app)
    assert (state.rejected, state.runs, state.edit_in_progress) == (None, {}, False)
    assert state.live is not None and (state.live.number, state.live.facts) == (0, 0)
    assert dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify) == ()


def test_the_newest_rejected_candidate_is_reported_until_a_later_one_is_accepted(app: App) -> None:
    candidate(app, C.REJECTED)
    newest = candidate(app, C.REJECTED)
    state = snapshot(app)
    assert state.rejected is not None and state.rejected.id == newest
    assert state.rejected.reasons == ("it failed",)
    assert not state.edit_in_progress
    assert [
        one.key
        for one in dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify)
    ] == [f"rejected:{newest}"]
    candidate(app, C.ABANDONED)
    assert snapshot(app).rejected == state.rejected
    candidate(app, C.ACCEPTED)
    assert snapshot(app).rejected is None


def test_an_unfinished_run_task_or_candidate_means_an_edit_in_progress(app: App) -> None:
    with app.ledger.begin() as session:
        run = operations.runs.start_run(session, "cycle", NOW, now=NOW)
    assert run is not None and snapshot(app).edit_in_progress
    with app.ledger.begin() as session:
        operations.runs.finish_run(session, run, RunStatus.DONE, "", now=NOW)
        session.add(task(status="running"))
    assert snapshot(app).edit_in_progress
    with app.ledger.begin() as session:
        session.execute(text("UPDATE tasks SET status = 'done'"))
    assert not snapshot(app).edit_in_progress
    candidate(app, C.SOLVING)
    assert snapshot(app).edit_in_progress


def task(**more: object) -> TaskRow:
    held: dict[str, object] = {"kind": "edit", "arguments": {}, "status": "waiting", "attempt": 1}
    held |= {"size": None, "worker": "w", "beats": 0, "step": "solve", "in_hand": []}
    held |= {"not_before": None, "created_at": NOW, "started_at": NOW, "finished_at": None}
    return TaskRow(**held | {"detail": "", "result": {}} | more)


def test_the_live_release_has_its_number_of_facts_and_its_leverage(app: App) -> None:
    made = candidate(app, C.ACCEPTED)
    with app.ledger.begin() as session:
        release = queries.releases.create_release(
            session,
            candidate_id=made,
            delta_id="d",
            fact_ids=["f1", "f2"],
            who="x",
            why="y",
            now=NOW,
        )
        before, after = release.status, ReleaseStatus.PUBLISHING
        queries.releases.move_release(session, release.number, before, after, now=NOW)
        queries.releases.make_live(session, release.number, now=NOW)
        assert views.snapshots.highest_leverage(session, made) == 0.97
    live = snapshot(app).live
    assert live is not None and (live.number, live.facts, live.candidate_id) == (1, 2, made)
    assert {
        one.key
        for one in dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify)
    } == {"budget_low:leverage", f"published:1:{NOW.isoformat()}"}


def test_the_runs_are_the_last_finished_ones_of_each_job(app: App) -> None:
    with app.ledger.begin() as session:
        for number in range(25):
            at = NOW + timedelta(minutes=number)
            for job in ("pull", "audit"):
                run = operations.runs.start_run(session, job, at, now=at)
                assert run is not None
                status = RunStatus.FAILED if job == "pull" else RunStatus.DONE
                if number < 24:
                    operations.runs.finish_run(session, run, status, f"run {number}", now=at)
    runs = snapshot(app).runs
    assert set(runs) == {"pull", "audit"}
    assert [run.detail for run in runs["pull"]] == [f"run {n}" for n in range(23, 3, -1)]
    assert {run.status for run in runs["pull"]} == {RunStatus.FAILED}
    assert [
        one.key
        for one in dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify)
    ] == ["job_failing:pull"]


def test_quarantined_facts_and_worker_deaths_are_reported(app: App) -> None:
    with app.ledger.begin() as session:
        one = QuarantinedFact(
            fact_id=the_fact(app), candidate_id=None, reason="a flood", evidence={}, at=NOW
        )
        queries.evidence.add_to_quarantine(session, one)
        row = task()
        session.add(row)
        session.flush()
        values = {"task_id": row.id, "cause": "memory", "in_hand": ["f1"], "detail": "x", "at": NOW}
        session.add(DeathRow(**values))
    state = snapshot(app)
    assert [(a.fact_id, a.reason) for a in state.quarantined] == [(the_fact(app), "a flood")]
    assert [(d.cause, d.facts) for d in state.worker_deaths] == [("memory", 1)]
    kinds = {
        one.kind
        for one in dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify)
    }
    assert kinds == {"set_aside", "worker_died"}


def test_only_frozen_and_failing_sources_are_reported(app: App) -> None:
    with app.ledger.begin() as session:
        queries.sources.save_state(session, "good", succeeded_at=NOW)
        queries.sources.save_state(session, "frozen", frozen="a flood")
        queries.sources.save_state(session, "failing", failures=3, error="no answer")
    assert [one.name for one in snapshot(app).troubled_sources] == ["failing", "frozen"]
    kinds = {
        one.kind
        for one in dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify)
    }
    assert kinds == {"source_frozen", "source_failing"}


def test_a_real_rollback_is_one_notice_although_it_also_freezes(app: App, clock: Clock) -> None:
    """`find` depends on the words of the flag and of the audit log."""
    publish.roll_back_to(
        app.ledger, app.paths, app.versions, app.fleet, 0, who="anna", why="wrong answers"
    )
    assert snapshot(app).frozen is not None
    (only,) = dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify)
    assert only.kind == "rolled_back"
    assert "anna" in only.text and "wrong answers" in only.text
    clock.advance(days=4)
    assert dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify) == ()


def test_an_audit_is_reported_without_its_report(app: App) -> None:
    failed = Audit(
        release=0,
        outcome=AuditOutcome.FAILED,
        action="nothing: off",
        reasons=["lost"],
        report={},
        at=NOW,
    )
    with app.ledger.begin() as session:
        queries.evidence.add_audit(session, failed)
    (only,) = dispatch.desired_notices(app.ledger, app.planning, app.fleet, app.config.notify)
    assert only.kind == "audit_failed" and "lost" in only.text


def test_waiting_releases_and_the_limit_of_the_day_come_from_the_caller(app: App) -> None:
    with app.ledger.begin() as session:
        release = queries.releases.create_release(
            session, candidate_id=None, delta_id=None, fact_ids=[], who="x", why="y", now=NOW
        )
    notices = dispatch.desired_notices(
        app.ledger,
        app.planning,
        app.fleet,
        app.config.notify,
        waiting=[release],
        limit="4 of 4 edits",
    )
    assert [one.key for one in notices] == ["approval:1", "limit:2026-11-21"]
