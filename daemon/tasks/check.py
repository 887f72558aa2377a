"""The checks on a release, or on the base, by hand. Nothing is changed."""

from dataclasses import replace
from typing import Any

from factd.daemon.app import App, on_base
from factd.daemon.editing import candidates
from factd.store import queries
from factd.store.model.facts import WRITTEN

CHECKED = 20_000  # facts that `check` looks at on the base


def check(app: App, number: int | None) -> dict[str, Any]:
    """The checks on a release (its delta as stored) or, for None, on the base; nothing is changed.

    A release is compared with the base and with the live one, and judged by the gates as they are now.
    """
    from factd.editor.deltas.delta import load_delta
    from factd.editor.exams.exam import AnswerCache
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
    memory = AnswerCache.load(folder / "answers.json")
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
