"""Taking facts back: they are withdrawn, and a release without them is made and published."""

from collections.abc import Sequence

from factd.daemon.app import App
from factd.daemon.editing.attempt import EditResult
from factd.daemon.editing.candidates import Progress, quiet
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.publishing.publish import publish
from factd.daemon.tasks.edit import plan_and_edit
from factd.store import queries


def take_back(
    app: App, ids: Sequence[str], *, who: str, why: str, progress: Progress = quiet
) -> EditResult:
    """Withdraw facts, edit without them, and publish the result.

    The weights are those that would exist if the facts had never been ingested. Raises: Refused.
    """
    app.ledger.refuse_if_frozen()
    with app.ledger.begin() as session:
        queries.resolution.withdraw(
            session, ids, app.ledger.resolver, why=why, who=who, now=app.ledger.now()
        )
        what = f"rollback --fact {' '.join(ids[:10])}"
        queries.releases.log_action(session, who=who, what=what, why=why, now=app.ledger.now())
    edited = plan_and_edit(app, who=who, why=why, progress=progress)
    if edited.release is not None:
        publish(
            app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, edited.release
        )
    return edited


def facts_of_batch(ledger: Ledger, batch_id: str) -> tuple[str, ...]:
    """The facts of a candidate's batch that the release before it did not hold.

    batch_id: or its first digits. Raises: Refused: no such batch.
    """
    with ledger.begin() as session:
        candidates = queries.releases.list_candidates(session, limit=1000)
        releases = queries.releases.list_releases(session)
    match = next((c for c in candidates if c.batch_id.startswith(batch_id)), None)
    if match is None:
        raise Refused(f"no batch {batch_id!r}; `factd releases list` shows the batches")
    made = next((r for r in releases if r.candidate_id == match.id), None)
    older = [r for r in releases if made and r.number < made.number and r.base == made.base]
    before = set(older[0].fact_ids) if older else set()
    return tuple(id_ for id_ in match.fact_ids if id_ not in before)
