"""The cost of all checks of a batch of 50 facts.

    factd bench checks [--facts 50] [--known 1000] [--json]

The exam has 1,000 questions in each of four languages about facts that must not change. For the
first row the base model is asked too. The second row is a second candidate: the base's answers are
cached.
"""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from factd.bench.gates.disasters import PreparedState, ingest_batch, updates
from factd.bench.measure import ModelTimer, document, peak_mib, timed
from factd.daemon.editing import candidates
from factd.editor.exams.exam import AnswerCache
from factd.reference import paths
from factd.store import queries


def run(*, facts: int = 50, known: int = 1000) -> dict[str, Any]:
    """The table."""
    with tempfile.TemporaryDirectory() as name:
        lab = PreparedState(Path(name))
        lab.prepare()
        with lab.app() as app:
            checks = app.config.checks.model_copy(update={"known_sample": known})
            app = replace(app, config=app.config.model_copy(update={"checks": checks}))
            ingest_batch(app, updates(paths.FEED)[:facts])
            with app.ledger.begin() as session:
                chosen = queries.facts.candidate_set(session)
            app.workbench.model()
            app.workbench.memory = AnswerCache()
            case = candidates.propose(
                app.ledger,
                app.paths,
                app.workbench,
                app.prompts,
                chosen,
                candidates.live_release(
                    app.ledger,
                ),
            )
            delta = candidates.solve(app.workbench, case.batch)
            rows = []
            for title in ("first candidate, base asked too", "base remembered"):
                inside = ModelTimer(app.workbench.model())
                with timed() as clock:
                    found = candidates.examine(
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
