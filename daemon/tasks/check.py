"""`factd check`: the checks on a release or on the base, run by hand. Nothing is changed."""

from dataclasses import replace
from typing import Any

from factd.daemon.app import App, on_base
from factd.daemon.editing import candidates
from factd.store import queries
from factd.store.model.facts import WRITTEN

MOST_FACTS = 20_000  # that are checked on the base


def check(app: App, number: int | None) -> dict[str, Any]:
    """The report of the checks on a release, with its delta as stored, or on the base for None.

    A release is compared with the base and with the live release, and judged by the present gates.
    """
    from factd.editor.deltas.delta import load_delta  # needs torch
    from factd.editor.exams.exam import AnswerCache
    from factd.editor.exams.report import run_checks

    live = candidates.live_release(app.ledger)
    with app.ledger.read() as session:
        release = queries.releases.release(session, number) if number else None
        if release:
            facts = queries.facts.facts_by_id(session, release.fact_ids)
        else:
            facts = queries.facts.list_facts(session, status=WRITTEN, limit=MOST_FACTS)
    app = on_base(app, release.base) if release else app
    proposal = candidates.propose(
        app.ledger, app.paths, app.workbench, app.prompts, facts, replace(live, fact_ids=())
    )
    if release is None or release.candidate_id is None:
        model, base = app.workbench.model(), app.workbench.base(proposal.exam)
        return run_checks(
            model, proposal.exam, terminator=app.workbench.terminator, base=base
        ).as_json()
    folder = app.paths.candidate(release.candidate_id)
    memory = AnswerCache.load(folder / "answers.json")
    examination = candidates.examine(
        app.paths,
        app.workbench,
        app.prompts,
        app.gates,
        proposal,
        load_delta(folder / "delta"),
        memory=memory,
    )
    return dict(examination.report)
