"""What people should know, found in how factd stands: nobody has to remember to tell it, and a crash loses none.

`find` is pure. What it wants told is open while it finds it: a state (frozen, a source that fails) until it ends, an event (a
rejected candidate, a rollback) until a later one makes up for it, or for `event_days`. `reconcile` makes the database say so.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from factd.daemon.config.tables import KINDS, NotifyTable
from factd.store import operations
from factd.store.model.evidence import AuditOutcome
from factd.store.model.operations import Notice
from factd.store.model.releases import RunStatus
from factd.store.model.snapshot import QuarantineEntry, Snapshot, WorkerDeath

HELD_BACK = timedelta(hours=2)  # at most, while the edit that rejected a candidate goes on
AGAIN_BELOW = 0.95  # of a bound, until what was near it is well again: no message for each wobble
ROLLED_BACK = "rolled back to release"  # how a flag begins that a rollback set


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Something that people should know now."""

    key: str  # what it is about, for telling it once
    kind: str
    text: str  # one sentence that says what to do
    data: Mapping[str, Any] = field(default_factory=dict)


def find(snapshot: Snapshot, table: NotifyTable, *, capacity: int) -> tuple[Wanted, ...]:
    """What people should know now, each key once. capacity: facts that a release holds at most."""
    since = snapshot.now - timedelta(days=table.event_days)
    return (
        *_rejected(snapshot, since),
        *_set_aside(snapshot, since),
        *_rolled_back(snapshot, since),
        *_frozen(snapshot),
        *_sources(snapshot, table),
        *_audit(snapshot, since),
        *_approvals(snapshot),
        *_deaths(snapshot, since),
        *_published(snapshot, since),
        *_budget(snapshot, table, capacity),
        *_baked(snapshot),
        *_limit(snapshot),
        *_jobs(snapshot, table),
        *_servers(snapshot, table),
    )


@dataclass(frozen=True, kw_only=True)
class Changes:
    """How what the database says differs from what is wanted."""

    told: tuple[Wanted, ...]  # new ones, and open ones whose words changed
    ended: tuple[str, ...]  # keys of open ones that are not wanted any more


def changes(there: Mapping[str, Notice], wanted: Iterable[Wanted]) -> Changes:
    """What is to be told and ended. Open notices of kinds that are not found here are left to whoever opened them."""
    by_key = {one.key[: operations.notices.KEY_LENGTH]: one for one in wanted}
    new = (k for k, one in by_key.items() if k not in there or there[k].text != one.text)
    ended = (k for k, one in there.items() if k not in by_key and one.kind in KINDS)
    return Changes(told=tuple(by_key[key] for key in new), ended=tuple(ended))


def reconcile(session: Session, wanted: Iterable[Wanted], *, now: datetime) -> int:
    """Open what is wanted and not open, count up what changed, end what is not wanted any more; how many changed."""
    found = changes(operations.notices.open_notices(session), wanted)
    for one in found.told:
        operations.notices.notify(
            session, key=one.key, kind=one.kind, text=one.text, data=one.data, now=now
        )
    for key in found.ended:
        operations.notices.close(session, key, now=now)
    return len(found.told) + len(found.ended)


def _rejected(snapshot: Snapshot, since: datetime) -> Iterator[Wanted]:
    """The newest candidate that was rejected; once its edit is over, which may still narrow it."""
    newest = snapshot.rejected
    if newest is None or newest.changed_at < since:
        return
    key = f"rejected:{newest.id}"
    if _held_back(snapshot, key, newest.changed_at):
        return
    reason = newest.reasons[0] if newest.reasons else "no reason was kept"
    yield Wanted(
        key=key,
        kind="rejected",
        text=f"candidate {newest.id} was rejected: {reason}; see `factd status` and its report page",
        data={"candidate": newest.id, "batch": newest.batch_id, "reasons": list(newest.reasons)},
    )


def _held_back(snapshot: Snapshot, key: str, at: datetime) -> bool:
    """It is not told yet, for the edit that it happened in goes on; what was told already stays open."""
    return (
        snapshot.edit_in_progress
        and at > snapshot.now - HELD_BACK
        and key not in snapshot.open_notice_keys
    )


def _set_aside(snapshot: Snapshot, since: datetime) -> Iterator[Wanted]:
    """Facts that were set aside, once for each candidate; those that never came into one, once a day."""
    groups: dict[str, list[QuarantineEntry]] = {}
    for one in snapshot.quarantined:
        if one.at >= since:
            about = f"candidate {one.candidate_id}" if one.candidate_id else f"{one.at:%Y-%m-%d}"
            groups.setdefault(about, []).append(one)
    for about, facts in groups.items():
        first, key = facts[-1], f"set_aside:{about}"
        if _held_back(snapshot, key, facts[0].at):
            continue
        yield Wanted(
            key=key,
            kind="set_aside",
            text=f"{_many(len(facts), 'fact was', 'facts were')} set aside, {about} ({first.fact_id}: {first.reason}); "
            "see `factd quarantine list`",
            data={"facts": [one.fact_id for one in facts[:100]], "candidate": first.candidate_id},
        )


def _rolled_back(snapshot: Snapshot, since: datetime) -> Iterator[Wanted]:
    for one in snapshot.rollbacks:
        if one.at >= since:
            yield Wanted(
                key=f"rolled_back:{one.id}",
                kind="rolled_back",
                text=f"{one.who} rolled back ({one.what}): {one.why or 'no reason was given'}",
                data={"who": one.who, "what": one.what, "why": one.why},
            )


def _frozen(snapshot: Snapshot) -> Iterator[Wanted]:
    """The kill switch; not where a rollback set it, which is told as such."""
    flag = snapshot.frozen
    if flag is not None and not flag.why.startswith(ROLLED_BACK):
        yield Wanted(
            key=f"frozen:{flag.since.isoformat()}",
            kind="frozen",
            text=f"{flag.who} froze factd: {flag.why}; nothing is written or published until `factd unfreeze`",
            data={"who": flag.who, "why": flag.why, "since": flag.since.isoformat()},
        )


def _sources(snapshot: Snapshot, table: NotifyTable) -> Iterator[Wanted]:
    for one in snapshot.troubled_sources:
        if one.frozen:
            yield Wanted(
                key=f"source_frozen:{one.name}",
                kind="source_frozen",
                text=f"source {one.name} is frozen: {one.frozen}",
                data={"source": one.name, "why": one.frozen},
            )
        elif one.failures >= table.failures:
            yield Wanted(
                key=f"source_failing:{one.name}",
                kind="source_failing",
                text=f"source {one.name} failed {one.failures} times in a row: {one.error}",
                data={"source": one.name, "failures": one.failures, "error": one.error},
            )


def _audit(snapshot: Snapshot, since: datetime) -> Iterator[Wanted]:
    """The last audit, where it failed; not where it rolled back, which is told as such."""
    one = snapshot.last_audit
    if one is None or one.outcome != AuditOutcome.FAILED or one.at < since:
        return
    if one.action.startswith(ROLLED_BACK):
        return
    reason = one.reasons[0] if one.reasons else "no reason was kept"
    yield Wanted(
        key=f"audit_failed:{one.id}",
        kind="audit_failed",
        text=f"the live release {one.release} failed its audit: {reason}; done about it: {one.action or 'nothing'}",
        data={"release": one.release, "reasons": list(one.reasons), "action": one.action},
    )


def _approvals(snapshot: Snapshot) -> Iterator[Wanted]:
    for number in snapshot.waiting_releases:
        yield Wanted(
            key=f"approval:{number}",
            kind="approval",
            text=f"release {number} waits for an operator: `factd approve {number} --why …` or `factd refuse {number} --why …`",
            data={"release": number},
        )


def _deaths(snapshot: Snapshot, since: datetime) -> Iterator[Wanted]:
    """Workers that died, once for each task."""
    groups: dict[int, list[WorkerDeath]] = {}
    for one in snapshot.worker_deaths:
        if one.at >= since:
            groups.setdefault(one.task_id, []).append(one)
    for task, deaths in groups.items():
        last = deaths[0]
        yield Wanted(
            key=f"worker_died:{task}",
            kind="worker_died",
            text=f"task {task} lost its worker {_many(len(deaths), 'time', 'times')}, last by {last.cause}"
            f" with {_many(last.facts, 'fact', 'facts')} in hand: {last.detail or 'it left no word'}",
            data={"task": task, "deaths": len(deaths), "cause": last.cause, "detail": last.detail},
        )


def _published(snapshot: Snapshot, since: datetime) -> Iterator[Wanted]:
    live = snapshot.live
    if live is None or live.live_at is None or live.live_at < since or not live.candidate_id:
        return
    yield Wanted(
        key=f"published:{live.number}:{live.live_at.isoformat()}",
        kind="published",
        text=f"release {live.number} is live, {_many(live.facts, 'fact', 'facts')}: {live.why}",
        data={"release": live.number, "facts": live.facts, "candidate": live.candidate_id},
    )


def _budget(snapshot: Snapshot, table: NotifyTable, capacity: int) -> Iterator[Wanted]:
    """Little is left of what a model's layers can hold: of the facts that are planned for, or as measured."""
    live, advice = (
        snapshot.live,
        "`factd rebase --why …` bakes the facts into a new base and frees it",
    )
    if live is None:
        return
    share = live.facts / capacity
    if _near("budget_low:capacity", share, table.budget_share, snapshot.open_notice_keys):
        yield Wanted(
            key="budget_low:capacity",
            kind="budget_low",
            text=f"release {live.number} holds {live.facts} of at most {capacity} facts ([planning] capacity); {advice}",
            data={"facts": live.facts, "capacity": capacity, "share": round(share, 4)},
        )
    spent = live.leverage
    if spent is not None and _near(
        "budget_low:leverage", spent, table.budget_leverage, snapshot.open_notice_keys
    ):
        yield Wanted(
            key="budget_low:leverage",
            kind="budget_low",
            text=f"the highest leverage in release {live.number} is {spent:.3f} (1: a layer is used up); {advice}",
            data={"leverage": round(spent, 4), "bound": table.budget_leverage},
        )


def _near(key: str, value: float, bound: float, told: frozenset[str]) -> bool:
    return bound > 0 and value >= bound * (AGAIN_BELOW if key in told else 1.0)


def _baked(snapshot: Snapshot) -> Iterator[Wanted]:
    """Facts that do not hold any more, in the weights of the base, with nothing to write over them."""
    if snapshot.still_baked:
        facts = snapshot.still_baked
        yield Wanted(
            key="baked",
            kind="baked",
            text=f"the base still says {_many(len(facts), 'baked fact', 'baked facts')} that nobody claims any more "
            f"({facts[0]}); ingest the right value, or `factd rebase --undo`",
            data={"facts": list(facts[:50])},
        )


def _limit(snapshot: Snapshot) -> Iterator[Wanted]:
    if snapshot.reached_limit:
        yield Wanted(
            key=f"limit:{snapshot.now:%Y-%m-%d}",
            kind="limit",
            text=snapshot.reached_limit,
            data={"limit": snapshot.reached_limit},
        )


def _jobs(snapshot: Snapshot, table: NotifyTable) -> Iterator[Wanted]:
    for job, runs in snapshot.runs.items():
        last = runs[: table.failures]
        if len(last) == table.failures and all(run.status is RunStatus.FAILED for run in last):
            yield Wanted(
                key=f"job_failing:{job}",
                kind="job_failing",
                text=f"{job} failed {table.failures} times in a row: {last[0].detail}",
                data={"job": job, "detail": last[0].detail, "since": last[-1].at.isoformat()},
            )


def _servers(snapshot: Snapshot, table: NotifyTable) -> Iterator[Wanted]:
    """Servers that do not take a release: given up, or failed so many times in a row."""
    after = {True: "what it had serves again", False: "WHAT IT HAD IS NOT RESTORED", None: ""}
    for one in snapshot.lagging_servers:
        if not one.given_up and one.attempts < table.failures:
            continue
        said = f"; {after[one.restored]}" if after[one.restored] else ""
        tries = _many(one.attempts, "attempt", "attempts")
        yield Wanted(
            key=f"handover_failed:{one.server}:{one.handover}",
            kind="handover_failed",
            text=f"server {one.server} did not take release {one.release} after {tries}: {one.error}{said}; "
            f"see `factd servers list`, then `factd servers retry {one.server}`",
            data={
                "server": one.server,
                "release": one.release,
                "attempts": one.attempts,
                "given_up": one.given_up,
                "restored": one.restored,
                "error": one.error,
            },
        )


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
