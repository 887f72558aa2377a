"""The notices that follow from how factd stands, as a table."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from factd.daemon.channels import UNASKED, ChannelSettings
from factd.daemon.config.tables import NOTICE_KINDS, NotifyTable
from factd.daemon.notifications.notices import DesiredNotice, find, reconcile
from factd.store import operations
from factd.store.database.session import Store
from factd.store.model.operations import AuditLogEntry
from factd.store.model.releases import Flag, RunStatus
from factd.store.model.snapshot import (
    AuditSummary,
    FinishedRun,
    LaggingServer,
    LiveReleaseSummary,
    QuarantineEntry,
    RejectedCandidate,
    Snapshot,
    TroubledSource,
    WorkerDeath,
)
from support.world import NOW

TABLE, CAPACITY = NotifyTable(), 100
HOUR = timedelta(hours=1)


def behind(attempts: int, given_up: bool = False) -> LaggingServer:
    return LaggingServer(
        server="eu",
        handover=9,
        release=3,
        given_up=given_up,
        attempts=attempts,
        error="it answered 500",
        restored=True,
    )


def rejected(id_: int, hours: float = 3.0) -> dict[str, Any]:
    at = NOW - hours * HOUR
    return {
        "rejected": RejectedCandidate(
            id=id_, batch_id="b" * 64, reasons=("too few",), changed_at=at
        )
    }


def runs(*statuses: RunStatus) -> dict[str, Any]:
    ended = tuple(FinishedRun(status=s, detail="it broke", at=NOW) for s in statuses)
    return {"runs": {"cycle": ended}}


def aside(fact: str, candidate: int | None, hours: float = 3.0) -> QuarantineEntry:
    return QuarantineEntry(
        fact_id=fact, candidate_id=candidate, reason="a flood", at=NOW - hours * HOUR
    )


def flag(why: str) -> dict[str, Any]:
    return {"frozen": Flag(name="frozen", why=why, who="anna", since=NOW)}


def looked(outcome: str, action: str = "nothing: off") -> dict[str, Any]:
    one = AuditSummary(
        id=5, release=2, outcome=outcome, action=action, reasons=("lost",), at=NOW - HOUR
    )
    return {"last_audit": one}


def source(**more: Any) -> dict[str, Any]:
    held: dict[str, Any] = {"name": "wikidata", "frozen": "", "failures": 0, "error": ""}
    held |= more
    return {"troubled_sources": (TroubledSource(**held),)}


def live(facts: int, leverage: float | None = None, days: float = 9.0) -> dict[str, Any]:
    at = NOW - timedelta(days=days)
    serving = LiveReleaseSummary(
        number=3, candidate_id=7, facts=facts, why="cycle", live_at=at, leverage=leverage
    )
    return {"live": serving}


def death(task: int, hours: float = 1.0) -> WorkerDeath:
    return WorkerDeath(
        task_id=task, cause="killed", facts=4, detail="signal 9", at=NOW - hours * HOUR
    )


def done(hours: float) -> dict[str, Any]:
    line = AuditLogEntry(
        id=12, at=NOW - hours * HOUR, who="anna", what="rollback --to 1", why="wrong"
    )
    return {"rollbacks": (line,)}


F, D = RunStatus.FAILED, RunStatus.DONE
CASES: list[tuple[str, dict[str, Any], set[str]]] = [
    ("nothing happened", {}, set()),
    ("a candidate was rejected", rejected(7), {"rejected:7"}),
    ("it is days ago", rejected(7, 73), set()),
    (
        "its edit goes on and may narrow it",
        rejected(7, 1) | {"edit_in_progress": True},
        set(),
    ),
    (
        "its edit goes on for hours",
        rejected(7, 3) | {"edit_in_progress": True},
        {"rejected:7"},
    ),
    (
        "it was told before the next edit began",
        rejected(7, 1) | {"edit_in_progress": True, "open_notice_keys": frozenset({"rejected:7"})},
        {"rejected:7"},
    ),
    (
        "facts were set aside with a candidate and without",
        {"quarantined": (aside("f3", 7), aside("f2", 7), aside("f1", None), aside("f0", 1, 99))},
        {"set_aside:candidate 7", "set_aside:2026-11-21"},
    ),
    (
        "facts are being set aside",
        {"quarantined": (aside("f1", 7, 0.1),), "edit_in_progress": True},
        set(),
    ),
    ("an operator froze", flag("an incident"), {f"frozen:{NOW.isoformat()}"}),
    ("a rollback froze", flag("rolled back to release 1: x") | done(1), {"rolled_back:12"}),
    ("a rollback of last week", flag("rolled back to release 1: x") | done(200), set()),
    ("a source is frozen", source(frozen="a flood", failures=9), {"source_frozen:wikidata"}),
    ("a source failed twice", source(failures=2), set()),
    ("a source fails", source(failures=3), {"source_failing:wikidata"}),
    ("an audit passed", looked("passed"), set()),
    ("an audit mended", looked("repaired"), set()),
    ("an audit failed", looked("failed"), {"audit_failed:5"}),
    (
        "an audit rolled back, which is told once",
        looked("failed", "rolled back to release 1 and frozen") | done(1),
        {"rolled_back:12"},
    ),
    ("releases wait", {"waiting_releases": (4, 5)}, {"approval:4", "approval:5"}),
    (
        "a worker died twice with one task",
        {"worker_deaths": (death(2), death(2, 2), death(1, 99))},
        {"worker_died:2"},
    ),
    ("a release went live", live(10, days=1), {f"published:3:{(NOW - 24 * HOUR).isoformat()}"}),
    ("much room is left", live(79, 0.94), set()),
    ("little room is left", live(80), {"budget_low:capacity"}),
    ("a layer is nearly used up", live(1, 0.95), {"budget_low:leverage"}),
    (
        "it is a little better",
        live(77, 0.91)
        | {"open_notice_keys": frozenset({"budget_low:capacity", "budget_low:leverage"})},
        {"budget_low:capacity", "budget_low:leverage"},
    ),
    (
        "it is well again",
        live(75, 0.9)
        | {"open_notice_keys": frozenset({"budget_low:capacity", "budget_low:leverage"})},
        set(),
    ),
    ("a baked fact was taken back", {"still_baked": ("f1", "f2")}, {"baked"}),
    ("the day's limit was reached", {"reached_limit": "4 of 4 edits"}, {"limit:2026-11-21"}),
    (
        "a server did not take a release",
        {"lagging_servers": (behind(1, True),)},
        {"handover_failed:eu:9"},
    ),
    ("a server goes on failing", {"lagging_servers": (behind(3),)}, {"handover_failed:eu:9"}),
    ("a server failed twice", {"lagging_servers": (behind(2),)}, set()),
    ("a job failed twice", runs(F, F), set()),
    ("a job fails", runs(F, F, F, D), {"job_failing:cycle"}),
    ("a job failed and is well again", runs(D, F, F, F), set()),
]


@pytest.mark.parametrize(("held", "keys"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_notice_follows_from_how_factd_stands(held: dict[str, Any], keys: set[str]) -> None:
    found = find(Snapshot(now=NOW, **held), TABLE, capacity=CAPACITY)
    assert {one.key for one in found} == keys
    assert len(found) == len(keys)
    assert all(one.kind in NOTICE_KINDS and len(one.kind) <= 32 and one.text for one in found)


def test_every_kind_has_a_case() -> None:
    found = [
        one.kind
        for _, held, _ in CASES
        for one in find(Snapshot(now=NOW, **held), TABLE, capacity=CAPACITY)
    ]
    assert set(found) == set(NOTICE_KINDS)


def test_a_bound_of_zero_is_never_reached() -> None:
    table = NotifyTable(budget_share=0, budget_leverage=0)
    assert find(Snapshot(now=NOW, **live(100, 1.0)), table, capacity=100) == ()


def test_a_text_says_what_happened_and_what_to_do() -> None:
    held = rejected(7) | source(frozen="a flood") | {"waiting_releases": (4,)} | live(81)
    texts = {one.kind: one.text for one in find(Snapshot(now=NOW, **held), TABLE, capacity=100)}
    assert texts["rejected"].startswith("candidate 7 was rejected: too few;")
    assert "factd approve 4" in texts["approval"]
    assert texts["budget_low"].startswith("release 3 holds 81 of at most 100 facts")


def test_an_audit_that_failed_keeps_its_key_while_time_goes_on() -> None:
    snapshot = Snapshot(now=NOW, **looked("failed"))
    for hours in (0, 1, 60):
        later = replace(snapshot, now=NOW + timedelta(hours=hours))
        assert [one.key for one in find(later, TABLE, capacity=1)] == ["audit_failed:5"]
    assert find(replace(snapshot, now=NOW + timedelta(days=3)), TABLE, capacity=1) == ()


def test_publishing_is_told_only_to_those_who_ask() -> None:
    settings = ChannelSettings(kind="webhook")
    assert set(NOTICE_KINDS) - set(settings.kinds) == set(UNASKED) == {"published"}


def wanted(key: str, text: str = "x", kind: str = "frozen") -> DesiredNotice:
    return DesiredNotice(key=key, kind=kind, text=text)


def test_what_is_found_again_changes_nothing_and_what_is_not_ends(store: Store) -> None:
    with store.begin() as session:
        assert reconcile(session, [wanted("a"), wanted("b")], now=NOW) == 2
        assert reconcile(session, [wanted("a"), wanted("b")], now=NOW + HOUR) == 0
        assert reconcile(session, [wanted("a", "y")], now=NOW + HOUR) == 2
        found = operations.notices.newest_notices(session, limit=9)
    assert [(n.key, n.text, n.count, n.over_at) for n in found] == [
        ("b", "x", 1, NOW + HOUR),
        ("a", "y", 2, None),
    ]


def test_a_notice_that_others_opened_is_left_to_them(store: Store) -> None:
    with store.begin() as session:
        operations.notices.notify(session, key="k", kind="own", text="x", data={}, now=NOW)
        assert reconcile(session, [], now=NOW) == 0
        assert list(operations.notices.open_notices(session)) == ["k"]
