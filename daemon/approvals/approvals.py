"""Releases that wait for an operator. What is approved is a batch, by its content hash: another batch waits again."""

from factd.daemon.config.run_tables import ApprovalsTable
from factd.daemon.errors import Refused
from factd.daemon.gates.policy import Verdict
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.store import queries
from factd.store.model.facts import FactStatus
from factd.store.model.operations import Consent
from factd.store.model.releases import Candidate, Release, ReleaseStatus


def waiting(ledger: Ledger, approvals: ApprovalsTable) -> tuple[Release, ...]:
    """Accepted releases that are not published before somebody approves them, the newest first."""
    with ledger.read() as session:
        found = queries.releases.releases_with_status(session, ReleaseStatus.ACCEPTED)
    return tuple(release for release in found if why_waits(ledger, approvals, release))


def why_waits(ledger: Ledger, approvals: ApprovalsTable, release: Release) -> str:
    """Why a release is not published by itself; empty where it may be."""
    when = approvals.when
    if when == "none" or release.live_at is not None or release.candidate_id is None:
        return ""
    with ledger.read() as session:
        candidate = queries.releases.candidate(session, release.candidate_id)
        said = queries.approvals.approval(session, candidate.batch_id)
    if said is not None and said.consent is Consent.APPROVED:
        return ""
    if when == "always":
        return "every batch waits for an approval"
    return doubts(ledger, approvals, release, candidate)


def doubts(
    ledger: Ledger, approvals: ApprovalsTable, release: Release, candidate: Candidate
) -> str:
    """Why a batch is large, or little is known of it; empty where neither."""
    table = approvals
    with ledger.read() as session:
        live = queries.releases.live_release(session)
        changed = set(release.fact_ids) ^ set(live.fact_ids if live else ())
        facts = queries.facts.facts_by_id(session, sorted(changed))
    if len(changed) >= table.large_facts:
        return f"{len(changed)} facts change, {table.large_facts} or more wait for an approval"
    low = [fact for fact in facts if fact.provenance.trust < table.trust_below]
    if low:
        return f"the source of fact {low[0].id} has a trust of {low[0].provenance.trust}, below {table.trust_below}"
    findings = dict(candidate.report or {}).get("decision", {}).get("findings", ())
    unsure = [f for f in findings if f["verdict"] == Verdict.INCONCLUSIVE.value]
    if unsure:
        return f"a gate had too few samples to tell: {unsure[0]['sentence']}"
    return ""


def approve(ledger: Ledger, number: int, *, who: str, why: str) -> Release:
    """Let a release be published. Raises: Refused: it is not one that waits, or no longer what would be written."""
    return _say(ledger, number, Consent.APPROVED, who=who, why=why)


def refuse(ledger: Ledger, number: int, *, who: str, why: str) -> Release:
    """Never publish a batch: its release is withdrawn, and the same batch is not written again. Raises: Refused."""
    return _say(ledger, number, Consent.REFUSED, who=who, why=why)


def _say(ledger: Ledger, number: int, consent: Consent, *, who: str, why: str) -> Release:
    verb = "approve" if consent is Consent.APPROVED else "refuse"
    with ledger.begin() as session:
        release = queries.releases.release(session, number)
        if release.status is not ReleaseStatus.ACCEPTED or release.candidate_id is None:
            raise Refused(
                f"release {number} is {release.status}, only accepted ones that were never live wait for an approval"
            )
        batch = queries.releases.candidate(session, release.candidate_id).batch_id
        queries.approvals.save_approval(session, batch, consent, who=who, why=why, now=ledger.now())
        if consent is Consent.REFUSED:
            back = (ReleaseStatus.ACCEPTED, ReleaseStatus.WITHDRAWN)
            queries.releases.move_release(session, number, *back, now=ledger.now())
        what = f"{verb} {number} (batch {batch[:12]})"
        queries.releases.log_action(session, who=who, what=what, why=why, now=ledger.now())
        found = queries.releases.release(session, number)
    log.info("batch " + consent.value, release=number, batch=batch[:12], who=who)
    return found


def outdated(ledger: Ledger, release: Release) -> str:
    """Why an approved release must not go out any more: a fact of it has been taken back since."""
    with ledger.read() as session:
        facts = queries.facts.facts_by_id(session, release.fact_ids)
    good = (FactStatus.ACTIVE, FactStatus.PENDING, FactStatus.SUPERSEDED)
    gone = [fact for fact in facts if fact.status not in good]
    return f"fact {gone[0].id} is {gone[0].status.value} since" if gone else ""
