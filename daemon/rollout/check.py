"""Checking one server by hand: its report, and its answers beside those of the live release.

Nothing is changed.
"""

from typing import Any

from factd.daemon.artefacts.versions import Versions
from factd.daemon.fleet import Fleet
from factd.daemon.ledger import Ledger
from factd.daemon.paths import Paths
from factd.daemon.rollout.handover import compare_answers
from factd.daemon.rollout.targets import served_named, target_of
from factd.store import operations, queries
from factd.store.errors import NotFound


def check(
    ledger: Ledger, paths: Paths, versions: Versions, fleet: Fleet, name: str
) -> dict[str, Any]:
    """Compare a server with the live release.

    Raises: NotFound: no such server, or no release is live. HandoverFailed: it does not answer.
    """
    served = served_named(fleet, name)
    with ledger.read() as session:
        live = queries.releases.live_release(session)
        before = operations.handovers.last_done(session, name, but=live.number if live else None)
    if live is None:
        raise NotFound("no release is live, so there is nothing to compare with; publish one first")
    target = target_of(
        ledger, paths, versions, served, live.number, before.release if before else None
    )
    server = served.connect(served.settings)
    try:
        report = server.report()
        match = compare_answers(server, target, tolerance=served.settings.tolerance)
    finally:
        server.close()
    wrong = list(match.wrong) if match else []
    reports_it = report.serving in (None, target.version.name)
    return {
        "server": name,
        "release": live.number,
        "version": target.version.name,
        "serving": report.serving,
        "loaded": list(report.loaded),
        "asked": match.asked if match else 0,
        "wrong": wrong,
        "fits": reports_it and not wrong,
    }
