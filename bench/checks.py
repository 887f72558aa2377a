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
        with lab.factd() as factd:
            checks = factd.config.checks.model_copy(update={"known_sample": known})
            factd = replace(factd, config=factd.config.model_copy(update={"checks": checks}))
            ingested(factd, updates(paths.FEED)[:facts])
            with factd.store.begin() as session:
                chosen = queries.facts.candidate_set(session)
            factd.workbench.model()
            factd.workbench.memory = AnswerCache()
            case = candidates.case_of(factd, chosen, candidates.live_of(factd))
            delta = candidates.solved(factd, case.batch)
            rows = []
            for title in ("first candidate, base asked too", "base remembered"):
                inside = Inside(factd.workbench.model())
                with timed() as clock:
                    found = candidates.examined(factd, case, delta)
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
