"""Rolls back a release that a canary refused: everywhere, to the version before.

factd is frozen then.
"""

from factd.daemon.artefacts.versions import Versions
from factd.daemon.errors import PublishFailed
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.log import log
from factd.daemon.paths import Paths
from factd.daemon.publishing import publish
from factd.daemon.publishing.writer import writing
from factd.daemon.rollout import outbox, strategy
from factd.daemon.rollout.strategy import ServerProgress
from factd.store import queries
from factd.store.model.releases import Release

WHO = "factd (canary)"


def refusal(ledger: Ledger, fleet: Fleet) -> tuple[Release, ServerProgress] | None:
    """The live release and a canary that has refused it. None: no canary has."""
    if not fleet.servers:
        return None
    with ledger.read() as session:
        now = outbox.rollout_of(fleet, session)
        if now is None or now.goes_back or now.release == 0:
            return None
        live = queries.releases.release(session, now.release)
        servers = outbox.progress_of_servers(fleet, session, live)
    bad = [one for one in servers if one.canary and strategy.has_refused(one, now)]
    return (live, bad[0]) if bad else None


def take_back(ledger: Ledger, paths: Paths, versions: Versions, fleet: Fleet) -> Release | None:
    """Roll back a release that a canary refused, if [servers] roll_back is on.

    None: nothing was rolled back. Raises: Busy: another process changes releases now. The next call
    rolls back.
    """
    if not fleet.table.roll_back or refusal(ledger, fleet) is None:
        return None
    with writing(ledger, paths, versions, fleet) as own:
        refused = refusal(own, fleet)
        if refused is None:
            return None
        live, canary = refused
        number = versions.previous(live.number)
        if number is None:
            log.error(
                "release not taken back", release=live.number, why="no earlier version is on disk"
            )
            return None
        error = canary.tried.error if canary.tried else ""
        why = f"server {canary.name} does not serve release {live.number}: {error}"
        try:
            return publish.roll_back_to(own, paths, versions, fleet, number, who=WHO, why=why)
        except PublishFailed as failed:
            log.error("release not taken back", release=live.number, why=str(failed))
            return None
