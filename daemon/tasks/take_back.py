"""Other steps: the checks on a release by hand, facts taken back. Each does one piece of work and says what it did."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from factd.daemon.app import App, on_base
from factd.daemon.editing import candidates
from factd.daemon.editing.candidates import Progress, quiet
from factd.daemon.editing.edit import Edited, edit
from factd.daemon.errors import Refused
from factd.daemon.ledger import Ledger
from factd.daemon.publishing.publish import publish, refuse_frozen
from factd.store import queries
from factd.store.model.facts import WRITTEN

CHECKED = 20_000  # facts that `check` looks at on the base


def check(app: App, number: int | None) -> dict[str, Any]:
    """The checks on a release (its delta as stored) or, for None, on the base; nothing is changed.

    A release is compared with the base and with the live one, and judged by the gates as they are now.
    """
    from factd.editor.deltas.delta import load_delta
    from factd.editor.exams.exam import Memory
    from factd.editor.exams.report import run_checks

    live = candidates.live_of(app.ledger)
    with app.ledger.read() as session:
        release = queries.releases.release(session, number) if number else None
        if release:
            facts = queries.facts.facts_by_id(session, release.fact_ids)
        else:
            facts = queries.facts.list_facts(session, status=WRITTEN, limit=CHECKED)
    app = on_base(app, release.base) if release else app
    case = candidates.case_of(
        app.ledger, app.paths, app.workbench, app.prompts, facts, replace(live, fact_ids=())
    )
    if release is None or release.candidate_id is None:
        model, base = app.workbench.model(), app.workbench.base(case.exam)
        return run_checks(
            model, case.exam, terminator=app.workbench.terminator, base=base
        ).as_json()
    folder = app.paths.candidate(release.candidate_id)
    memory = Memory.of(folder / "answers.json")
    found = candidates.examined(
        app.paths,
        app.workbench,
        app.prompts,
        app.gates,
        case,
        load_delta(folder / "delta"),
        memory=memory,
    )
    return dict(found.report)


def take_back(
    app: App, ids: Sequence[str], *, who: str, why: str, progress: Progress = quiet
) -> Edited:
    """Withdraw facts and write the set without them: the weights that would exist had they never been ingested."""
    refuse_frozen(app.ledger)
    with app.ledger.begin() as session:
        queries.resolution.withdraw(
            session, ids, app.ledger.resolver, why=why, who=who, now=app.ledger.now()
        )
        what = f"rollback --fact {' '.join(ids[:10])}"
        queries.releases.log_action(session, who=who, what=what, why=why, now=app.ledger.now())
    found = edit(app, who=who, why=why, progress=progress)
    if found.release is not None:
        publish(app.ledger, app.paths, app.versions, app.fleet, app.config.approvals, found.release)
    return found


def facts_of_batch(ledger: Ledger, batch_id: str) -> tuple[str, ...]:
    """The facts that came with a candidate's batch: those its predecessor had not. Raises: Refused: no such batch."""
    with ledger.begin() as session:
        found = queries.releases.list_candidates(session, limit=1000)
        releases = queries.releases.list_releases(session)
    match = next((c for c in found if c.batch_id.startswith(batch_id)), None)
    if match is None:
        raise Refused(f"no batch {batch_id!r}; `factd releases list` shows them")
    made = next((r for r in releases if r.candidate_id == match.id), None)
    older = [r for r in releases if made and r.number < made.number and r.base == made.base]
    before = set(older[0].fact_ids) if older else set()
    return tuple(id_ for id_ in match.fact_ids if id_ not in before)
