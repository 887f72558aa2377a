"""All checks of a batch of 50 facts, with 1,000 questions in each of four languages about what must not change.

    factd bench checks [--facts 50] [--known 1000] [--json]

From nothing: the base model is asked, too. The second line is a second candidate, for which the base's answers are there.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from factd.bench.disasters import Lab, ingested, updates
from factd.bench.measure import Inside, document, peak_mib, timed
from factd.daemon.editing import candidates
from factd.editor.exams.exam import AnswerCache
from factd.reference import paths
from factd.store import queries


def run(*, facts: int = 50, known: int = 1000) -> dict[str, Any]:
    """The table."""
    with tempfile.TemporaryDirectory() as name:
        lab = Lab(Path(name))
        lab.prepare()
        with lab.app() as app:
            checks = app.config.checks.model_copy(update={"known_sample": known})
            app = replace(app, config=app.config.model_copy(update={"checks": checks}))
            ingested(app, updates(paths.FEED)[:facts])
            with app.ledger.begin() as session:
                chosen = queries.facts.candidate_set(session)
            app.workbench.model()
            app.workbench.memory = AnswerCache()
            case = candidates.case_of(
                app.ledger,
                app.paths,
                app.workbench,
                app.prompts,
                chosen,
                candidates.live_of(
                    app.ledger,
                ),
            )
            delta = candidates.solved(app.workbench, case.batch)
            rows = []
            for title in ("first candidate, base asked too", "base remembered"):
                inside = Inside(app.workbench.model())
                with timed() as clock:
                    found = candidates.examined(
                        app.paths, app.workbench, app.prompts, app.gates, case, delta
                    )
                share = inside.closed() / clock.seconds
                rows.append(
                    {
                        "way": title,
                        "facts": len(chosen),
                        "probes": len(case.exam),
                        "seconds": clock.seconds,
                        "in the model": share,
                        "measurements": len(found.report["measurements"]),
                    }
                )
        return document("checks", "cpu", rows, counts=case.exam.counts(), peak_mib=peak_mib("cpu"))
