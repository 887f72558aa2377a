"""The notices that operators should have now, derived from a snapshot of how factd stands.

No code has to remember to send a notice, and a crash loses none: `find` computes from the snapshot
which notices should be open, and `reconcile` makes the database agree. A state (frozen, a failing
source) has an open notice until it ends. An event (a rejected candidate, a rollback) has one until
a later event makes up for it, or for [notify] event_days.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from factd.daemon.config.tables import NOTICE_KINDS, NotifyTable
from factd.store import operations
from factd.store.model.evidence import AuditOutcome
from factd.store.model.operations import Notice
from factd.store.model.releases import RunStatus
from factd.store.model.snapshot import QuarantineEntry, Snapshot, WorkerDeath

HELD_BACK = timedelta(hours=2)  # the longest wait for the end of the edit that a notice is about
# Share of a bound below which its notice ends, so that small changes send no messages.
CLOSES_BELOW = 0.95
ROLLED_BACK = "rolled back to release"  # how the reason of a freeze begins that a rollback set


@dataclass(frozen=True, kw_only=True)
class DesiredNotice:
    """A notice that should be open now."""

    key: str  # what the notice is about; the same key means the same notice
    kind: str
    text: str  # one sentence, with what to do
    data: Mapping[str, Any] = field(default_factory=dict)


def find(snapshot: Snapshot, table: NotifyTable, *, capacity: int) -> tuple[DesiredNotice, ...]:
    """The notices that should be open now, each key once. capacity: in facts."""
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
class NoticeChanges:
    """The difference between the open notices and those that should be open."""

    opened: tuple[DesiredNotice, ...]  # new notices, and open ones whose text changed
    ended: tuple[str, ...]  # keys of open notices that should not be open any more


def changes(open_: Mapping[str, Notice], desired: Iterable[DesiredNotice]) -> NoticeChanges:
    """The notices to open and to end. Only notices of the kinds in NOTICE_KINDS are ended."""
    by_key = {notice.key[: operations.notices.KEY_LENGTH]: notice for notice in desired}
    new = (k for k, n in by_key.items() if k not in open_ or open_[k].text != n.text)
    ended = (k for k, n in open_.items() if k not in by_key and n.kind in NOTICE_KINDS)
    return NoticeChanges(opened=tuple(by_key[key] for key in new), ended=tuple(ended))


def reconcile(session: Session, desired: Iterable[DesiredNotice], *, now: datetime) -> int:
    """Open, update and end notices so that the desired ones are open; the number of changes."""
    difference = changes(operations.notices.open_notices(session), desired)
    for n in difference.opened:
        operations.notices.notify(
            session, key=n.key, kind=n.kind, text=n.text, data=n.data, now=now
        )
    for key in difference.ended:
        operations.notices.close(session, key, now=now)
    return len(difference.opened) + len(difference.ended)


def _rejected(snapshot: Snapshot, since: datetime) -> Iterator[DesiredNotice]:
    """The newest rejected candidate.

    Not while its edit goes on, which may still narrow it to an accepted one.
    """
    newest = snapshot.rejected
    if newest is None or newest.changed_at < since:
        return
    key = f"rejected:{newest.id}"
    if _held_back(snapshot, key, newest.changed_at):
        return
    reason = newest.reasons[0] if newest.reasons else "no reason was recorded"
    yield DesiredNotice(
        key=key,
        kind="rejected",
        text=f"candidate {newest.id} was rejected: {reason}; "
        "see `factd status` and the candidate's report in the console",
        data={"candidate": newest.id, "batch": newest.batch_id, "reasons": list(newest.reasons)},
    )


def _held_back(snapshot: Snapshot, key: str, at: datetime) -> bool:
    """The notice waits for the end of the edit under way.

    A notice that is open already stays open.
    """
    return (
        snapshot.edit_in_progress
        and at > snapshot.now - HELD_BACK
        and key not in snapshot.open_notice_keys
    )


def _set_aside(snapshot: Snapshot, since: datetime) -> Iterator[DesiredNotice]:
    """Facts that were set aside: a notice for each candidate, and one a day for facts without a
    candidate.
    """
    groups: dict[str, list[QuarantineEntry]] = {}
    for fact in snapshot.quarantined:
        if fact.at >= since:
            about = f"candidate {fact.candidate_id}" if fact.candidate_id else f"{fact.at:%Y-%m-%d}"
            groups.setdefault(about, []).append(fact)
    for about, facts in groups.items():
        first, key = facts[-1], f"set_aside:{about}"
        if _held_back(snapshot, key, facts[0].at):
            continue
        yield DesiredNotice(
            key=key,
            kind="set_aside",
            text=f"{_many(len(facts), 'fact was', 'facts were')} set aside, "
            f"{about} ({first.fact_id}: {first.reason}); see `factd quarantine list`",
            data={"facts": [fact.fact_id for fact in facts[:100]], "candidate": first.candidate_id},
        )


def _rolled_back(snapshot: Snapshot, since: datetime) -> Iterator[DesiredNotice]:
    """Rollbacks, with the operator or the part of factd that did them."""
    for entry in snapshot.rollbacks:
        if entry.at >= since:
            yield DesiredNotice(
                key=f"rolled_back:{entry.id}",
                kind="rolled_back",
                text=f"{entry.who} rolled back ({entry.what}): "
                f"{entry.why or 'no reason was given'}; "
                "`factd status` shows whether factd is frozen",
                data={"who": entry.who, "what": entry.what, "why": entry.why},
            )


def _frozen(snapshot: Snapshot) -> Iterator[DesiredNotice]:
    """The freeze. Not if a rollback set it: that has a notice of its own."""
    flag = snapshot.frozen
    if flag is not None and not flag.why.startswith(ROLLED_BACK):
        yield DesiredNotice(
            key=f"frozen:{flag.since.isoformat()}",
            kind="frozen",
            text=f"{flag.who} froze factd: {flag.why}; "
            "nothing is edited or published until `factd unfreeze`",
            data={"who": flag.who, "why": flag.why, "since": flag.since.isoformat()},
        )


def _sources(snapshot: Snapshot, table: NotifyTable) -> Iterator[DesiredNotice]:
    """Sources that are frozen, or that failed several times in a row."""
    for source in snapshot.troubled_sources:
        if source.frozen:
            yield DesiredNotice(
                key=f"source_frozen:{source.name}",
                kind="source_frozen",
                text=f"source {source.name} is frozen: {source.frozen}; look at what it sent, then "
                f"`factd sources unfreeze {source.name}`",
                data={"source": source.name, "why": source.frozen},
            )
        elif source.failures >= table.failures:
            yield DesiredNotice(
                key=f"source_failing:{source.name}",
                kind="source_failing",
                text=f"source {source.name} failed {source.failures} times in a row: "
                f"{source.error}; see `factd sources list`",
                data={"source": source.name, "failures": source.failures, "error": source.error},
            )


def _audit(snapshot: Snapshot, since: datetime) -> Iterator[DesiredNotice]:
    """The last audit, if it failed. Not if it rolled back: that has a notice of its own."""
    audit = snapshot.last_audit
    if audit is None or audit.outcome != AuditOutcome.FAILED or audit.at < since:
        return
    if audit.action.startswith(ROLLED_BACK):
        return
    reason = audit.reasons[0] if audit.reasons else "no reason was recorded"
    yield DesiredNotice(
        key=f"audit_failed:{audit.id}",
        kind="audit_failed",
        text=f"the live release {audit.release} failed its audit: {reason}; factd did: "
        f"{audit.action or 'nothing'}; `factd rollback --to N` goes back to an earlier release",
        data={"release": audit.release, "reasons": list(audit.reasons), "action": audit.action},
    )


def _approvals(snapshot: Snapshot) -> Iterator[DesiredNotice]:
    """Releases that wait for an operator."""
    for number in snapshot.waiting_releases:
        yield DesiredNotice(
            key=f"approval:{number}",
            kind="approval",
            text=f"release {number} waits for an operator: "
            f"`factd approve {number} --why …` or `factd refuse {number} --why …`",
            data={"release": number},
        )


def _deaths(snapshot: Snapshot, since: datetime) -> Iterator[DesiredNotice]:
    """Workers that died: a notice for each task."""
    groups: dict[int, list[WorkerDeath]] = {}
    for death in snapshot.worker_deaths:
        if death.at >= since:
            groups.setdefault(death.task_id, []).append(death)
    for task, deaths in groups.items():
        last = deaths[0]
        yield DesiredNotice(
            key=f"worker_died:{task}",
            kind="worker_died",
            text=f"task {task} lost its worker {_many(len(deaths), 'time', 'times')}, "
            f"the last time by {last.cause} while it worked on "
            f"{_many(last.facts, 'fact', 'facts')}: {last.detail or 'no detail is known'}; "
            "see the worker's log",
            data={"task": task, "deaths": len(deaths), "cause": last.cause, "detail": last.detail},
        )


def _published(snapshot: Snapshot, since: datetime) -> Iterator[DesiredNotice]:
    """A new live release. Channels get this kind only if they name it."""
    live = snapshot.live
    if live is None or live.live_at is None or live.live_at < since or not live.candidate_id:
        return
    yield DesiredNotice(
        key=f"published:{live.number}:{live.live_at.isoformat()}",
        kind="published",
        text=f"release {live.number} is live, {_many(live.facts, 'fact', 'facts')}: {live.why}",
        data={"release": live.number, "facts": live.facts, "candidate": live.candidate_id},
    )


def _budget(snapshot: Snapshot, table: NotifyTable, capacity: int) -> Iterator[DesiredNotice]:
    """The edited layers are nearly full: by the number of facts, or by the measured leverage."""
    live = snapshot.live
    if live is None:
        return
    advice = "`factd rebase --why …` bakes the facts into a new base, which frees the layers"
    share = live.facts / capacity
    if _near("budget_low:capacity", share, table.budget_share, snapshot.open_notice_keys):
        yield DesiredNotice(
            key="budget_low:capacity",
            kind="budget_low",
            text=f"release {live.number} holds {live.facts} of at most {capacity} facts "
            f"([planning] capacity); {advice}",
            data={"facts": live.facts, "capacity": capacity, "share": round(share, 4)},
        )
    spent = live.leverage
    if spent is not None and _near(
        "budget_low:leverage", spent, table.budget_leverage, snapshot.open_notice_keys
    ):
        yield DesiredNotice(
            key="budget_low:leverage",
            kind="budget_low",
            text=f"the highest leverage in release {live.number} is {spent:.3f} "
            f"(at 1 a layer is full); {advice}",
            data={"leverage": round(spent, 4), "bound": table.budget_leverage},
        )


def _near(key: str, value: float, bound: float, open_keys: frozenset[str]) -> bool:
    """The value has reached the bound, or is still close to it while the notice is open.

    Bound 0: never.
    """
    return bound > 0 and value >= bound * (CLOSES_BELOW if key in open_keys else 1.0)


def _baked(snapshot: Snapshot) -> Iterator[DesiredNotice]:
    """Facts that no source claims any more, but that are baked into the base."""
    if snapshot.still_baked:
        facts = snapshot.still_baked
        yield DesiredNotice(
            key="baked",
            kind="baked",
            text=f"the base still gives {_many(len(facts), 'baked fact', 'baked facts')} "
            f"that no source claims any more ({facts[0]}); "
            "ingest the right value, or `factd rebase --undo`",
            data={"facts": list(facts[:50])},
        )


def _limit(snapshot: Snapshot) -> Iterator[DesiredNotice]:
    """A limit of the day that was reached: one notice a day."""
    if snapshot.reached_limit:
        yield DesiredNotice(
            key=f"limit:{snapshot.now:%Y-%m-%d}",
            kind="limit",
            text=snapshot.reached_limit,
            data={"limit": snapshot.reached_limit},
        )


def _jobs(snapshot: Snapshot, table: NotifyTable) -> Iterator[DesiredNotice]:
    """Jobs whose last runs all failed."""
    for job, runs in snapshot.runs.items():
        last = runs[: table.failures]
        if len(last) == table.failures and all(run.status is RunStatus.FAILED for run in last):
            yield DesiredNotice(
                key=f"job_failing:{job}",
                kind="job_failing",
                text=f"the job {job} failed {table.failures} times in a row: {last[0].detail}; "
                "see `factd status` and the log",
                data={"job": job, "detail": last[0].detail, "since": last[-1].at.isoformat()},
            )


def _servers(snapshot: Snapshot, table: NotifyTable) -> Iterator[DesiredNotice]:
    """Servers that did not take a release: given up, or several attempts failed in a row."""
    restored = {
        True: "; it serves the version before again",
        False: "; THE VERSION BEFORE IS NOT RESTORED",
        None: "",
    }
    for server in snapshot.lagging_servers:
        if not server.given_up and server.attempts < table.failures:
            continue
        attempts = _many(server.attempts, "attempt", "attempts")
        yield DesiredNotice(
            key=f"handover_failed:{server.server}:{server.handover}",
            kind="handover_failed",
            text=f"server {server.server} did not take release {server.release} after {attempts}: "
            f"{server.error}{restored[server.restored]}; "
            f"see `factd servers list`, then `factd servers retry {server.server}`",
            data={
                "server": server.server,
                "release": server.release,
                "attempts": server.attempts,
                "given_up": server.given_up,
                "restored": server.restored,
                "error": server.error,
            },
        )


def _many(count: int, singular: str, plural: str) -> str:
    return f"{count} {singular if count == 1 else plural}"
