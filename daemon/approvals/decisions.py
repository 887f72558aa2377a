"""Approving or refusing a release that waits for an operator. The decision is about its batch."""

from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.store import queries
from factd.store.model.operations import Consent
from factd.store.model.releases import Release, ReleaseStatus


def approve(ledger: Ledger, number: int, *, who: str, why: str) -> Release:
    """Let a release be published. Raises: Refused: the release does not wait for an approval."""
    return _decide(ledger, number, Consent.APPROVED, who=who, why=why)


def refuse(ledger: Ledger, number: int, *, who: str, why: str) -> Release:
    """Withdraw a release and never write its batch again.

    Raises: Refused: the release does not wait for an approval.
    """
    return _decide(ledger, number, Consent.REFUSED, who=who, why=why)


def _decide(ledger: Ledger, number: int, consent: Consent, *, who: str, why: str) -> Release:
    verb = "approve" if consent is Consent.APPROVED else "refuse"
    with ledger.begin() as session:
        release = queries.releases.release(session, number)
        if release.status is not ReleaseStatus.ACCEPTED or release.candidate_id is None:
            raise Refused(
                f"release {number} is {release.status}; only an accepted release that was never "
                "live waits for an approval: see `factd releases list`"
            )
        batch = queries.releases.candidate(session, release.candidate_id).batch_id
        queries.approvals.save_approval(session, batch, consent, who=who, why=why, now=ledger.now())
        if consent is Consent.REFUSED:
            back = (ReleaseStatus.ACCEPTED, ReleaseStatus.WITHDRAWN)
            queries.releases.move_release(session, number, *back, now=ledger.now())
        what = f"{verb} {number} (batch {batch[:12]})"
        queries.releases.log_action(session, who=who, what=what, why=why, now=ledger.now())
        decided = queries.releases.release(session, number)
    log.info("batch " + consent.value, release=number, batch=batch[:12], who=who)
    return decided
