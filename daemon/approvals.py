"""Releases that wait for an operator. What is approved is a batch, by its content hash."""

from daemon.bootstrap import Factd
from daemon.errors import Refused
from store import approval_queries, release_queries
from store.operations import Consent
from store.releases import Release, ReleaseStatus


def waiting(factd: Factd) -> tuple[Release, ...]:
    """Accepted releases that nobody approved yet, the newest first."""
    with factd.store.read() as session:
        return tuple(
            release
            for release in release_queries.list_releases(session, limit=20)
            if release.status is ReleaseStatus.ACCEPTED
            and release.live_at is None
            and release.candidate_id is not None
            and approval_queries.approval(
                session, release_queries.candidate(session, release.candidate_id).batch_id
            )
            is None
        )


def approve(factd: Factd, number: int, *, who: str, why: str) -> Release:
    """Let a release be published. Raises: Refused: it is not one that waits."""
    return _say(factd, number, Consent.APPROVED, who=who, why=why)


def refuse(factd: Factd, number: int, *, who: str, why: str) -> Release:
    """Never publish a batch: its release is withdrawn. Raises: Refused."""
    return _say(factd, number, Consent.REFUSED, who=who, why=why)


def _say(factd: Factd, number: int, consent: Consent, *, who: str, why: str) -> Release:
    verb = "approve" if consent is Consent.APPROVED else "refuse"
    with factd.store.begin() as session:
        release = release_queries.release(session, number)
        if release.status is not ReleaseStatus.ACCEPTED or release.candidate_id is None:
            raise Refused(
                f"release {number} is {release.status}, only accepted ones wait for an approval"
            )
        batch = release_queries.candidate(session, release.candidate_id).batch_id
        approval_queries.note_approval(session, batch, consent, who=who, why=why, now=factd.now())
        if consent is Consent.REFUSED:
            back = (ReleaseStatus.ACCEPTED, ReleaseStatus.WITHDRAWN)
            release_queries.move_release(session, number, *back, now=factd.now())
        what = f"{verb} {number} (batch {batch[:12]})"
        release_queries.record(session, who=who, what=what, why=why, now=factd.now())
        return release_queries.release(session, number)
