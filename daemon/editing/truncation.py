"""A delta whose rank is higher than an adapter may have: cut where the model is, measured by all gates, and only then published.

What the worker made of a candidate lies in its folder, `adapter/RANK/`: the truncated delta, its answers, and report.json with
the decision, and what it says to the questions that servers are asked. Publishing needs no model: it writes a truncated adapter
only where that report says that it passed.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from factd.daemon.artefacts.truncated import folder_of
from factd.daemon.artefacts.versions import Versions
from factd.daemon.editing import proof_questions
from factd.daemon.editing.candidates import Case, examined
from factd.daemon.editing.parts import EditParts
from factd.daemon.log import log
from factd.daemon.publishers import adapter
from factd.daemon.tracing import span

if TYPE_CHECKING:
    from factd.editor.deltas.delta import Delta


def ranks(versions: Versions) -> list[int]:
    """The ranks that deltas are cut to, where [publish] has adapters that may be truncated."""
    tables = [publisher.settings for publisher in versions.publishers.values()]
    return sorted({t.max_rank for t in tables if isinstance(t, adapter.Settings) and t.truncate})


@span("truncate")
def prepare(parts: EditParts, case: Case, candidate: int, delta: "Delta") -> None:
    """Cut a candidate that passed to each rank that it exceeds, and measure what is left of it with the same exam and gates."""
    from factd.editor.deltas.truncation import is_matrix, truncate

    if not all(map(is_matrix, delta.parts.values())):
        return  # head corrections: no adapter holds them, cut or not
    for rank in ranks(parts.versions):
        cut = truncate(delta, rank)
        if cut is not None:
            _measure(parts, case, folder_of(parts.paths.candidate(candidate), rank), cut)


def _measure(parts: EditParts, case: Case, folder: Path, cut: "Delta") -> None:
    from factd.editor.deltas.delta import save_delta
    from factd.editor.exams.exam import AnswerCache
    from factd.editor.files.folders import write_file

    save_delta(cut, folder / "delta")
    memory = AnswerCache.load(folder / "answers.json")
    found = examined(
        parts.paths,
        parts.workbench,
        parts.prompts,
        parts.gates,
        case,
        cut,
        exam=case.exam,
        memory=memory,
    )  # without the transfer matrix
    report = {**found.report, "truncated": dict(cut.settings["truncated"])}
    write_file(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1).encode())
    reasons, passed = list(found.decision.reasons), found.decision.accepted
    if passed:
        proof_questions.record(
            parts.ledger,
            parts.paths,
            parts.workbench,
            parts.prompts,
            parts.fleet,
            case,
            cut,
            folder,
        )
    log.info("adapter truncated", passed=passed, reasons=reasons, **report["truncated"])
