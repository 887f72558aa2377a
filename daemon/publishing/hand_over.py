"""Hand the live release to the servers now, without waiting for the daemon's next tick."""

from factd.daemon.artefacts.versions import Versions
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.publishing import canary_rollback
from factd.daemon.rollout import outbox
from factd.store.model.handovers import Handover


def hand_over_due(
    ledger: Ledger, paths: Paths, versions: Versions, fleet: Fleet, *, seize: bool = False
) -> tuple[Handover, ...]:
    """Do every hand-over that is due, and return the hand-overs that were tried.

    Without a configured server the result is empty.

    If a canary refuses the release, the release is taken back and the earlier version is handed
    over.
    seize: take the lease of the hand-overs from the process that has it. Raises: Busy.
    """
    tried = outbox.hand_over_due(ledger, paths, versions, fleet, seize=seize)
    if canary_rollback.take_back(ledger, paths, versions, fleet) is not None:
        tried = (*tried, *outbox.hand_over_due(ledger, paths, versions, fleet))
    return tried
