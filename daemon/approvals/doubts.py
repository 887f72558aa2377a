"""Which accepted releases must wait for an operator, and why."""

from factd.daemon.config.run_tables import ApprovalsTable
from factd.daemon.gates.policy import GateVerdict
from factd.daemon.ledger import Ledger
from factd.store import queries
from factd.store.model.facts import FactStatus
from factd.store.model.operations import Consent
from factd.store.model.releases import Candidate, Release, ReleaseStatus


def waiting(ledger: Ledger, approvals: ApprovalsTable) -> tuple[Release, ...]:
    """Accepted releases that are not published until an operator approves them, newest first."""
    with ledger.read() as session:
        accepted = queries.releases.releases_with_status(session, ReleaseStatus.ACCEPTED)
    return tuple(release for release in accepted if why_waits(ledger, approvals, release))


def why_waits(ledger: Ledger, approvals: ApprovalsTable, release: Release) -> str:
    """Why a release waits for an operator. Empty if it may be published."""
    when = approvals.when
    if when == "none" or release.live_at is not None or release.candidate_id is None:
        return ""
    with ledger.read() as session:
        candidate = queries.releases.candidate(session, release.candidate_id)
        approval = queries.approvals.approval(session, candidate.batch_id)
    if approval is not None and approval.consent is Consent.APPROVED:
        return ""
    if when == "always":
        return "every batch waits for an approval"
    return doubts(ledger, approvals, release, candidate)


def doubts(
    ledger: Ledger, approvals: ApprovalsTable, release: Release, candidate: Candidate
) -> str:
    """The first reason to doubt a batch: its size, its sources, or too few samples.

    Empty if none.
    """
    with ledger.read() as session:
        live = queries.releases.live_release(session)
        changed = set(release.fact_ids) ^ set(live.fact_ids if live else ())
        facts = queries.facts.facts_by_id(session, sorted(changed))
    if len(changed) >= approvals.large_facts:
        return f"{len(changed)} facts change, {approvals.large_facts} or more wait for an approval"
    low = [fact for fact in facts if fact.provenance.trust < approvals.trust_below]
    if low:
        trust = low[0].provenance.trust
        return f"the source of fact {low[0].id} has trust {trust}, below {approvals.trust_below}"
    findings = dict(candidate.report or {}).get("decision", {}).get("findings", ())
    unsure = [f for f in findings if f["verdict"] == GateVerdict.INCONCLUSIVE.value]
    if unsure:
        return f"a gate had too few samples to decide: {unsure[0]['sentence']}"
    return ""


def outdated(ledger: Ledger, release: Release) -> str:
    """Why an approved release must no longer be published: one of its facts was taken back since.

    Empty if it may be published.
    """
    with ledger.read() as session:
        facts = queries.facts.facts_by_id(session, release.fact_ids)
    good = (FactStatus.ACTIVE, FactStatus.PENDING, FactStatus.SUPERSEDED)
    gone = [fact for fact in facts if fact.status not in good]
    return f"fact {gone[0].id} is {gone[0].status.value} now" if gone else ""
