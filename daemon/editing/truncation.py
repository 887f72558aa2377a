"""Truncation of a delta whose rank is higher than an adapter may have.

The worker, which has the model, truncates the delta and measures the result with all gates. It
leaves in the candidate's folder, under `adapter/RANK/`, the truncated delta, its answers,
report.json with the decision, and its answers to the questions that servers are asked. Publishing
needs no model: it writes a truncated adapter only if that report says that the adapter passed.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from factd.daemon.artefacts.truncated import folder_of
from factd.daemon.artefacts.versions import Versions
from factd.daemon.editing import proof_questions
from factd.daemon.editing.candidates import Proposal, examine
from factd.daemon.editing.parts import EditParts
from factd.daemon.log import log
from factd.daemon.publishers import adapter
from factd.daemon.tracing import span
from factd.editor.files.folders import write_file

if TYPE_CHECKING:
    from factd.editor.deltas.delta import Delta


def truncation_ranks(versions: Versions) -> list[int]:
    """The ranks to truncate deltas to: `max_rank` of every adapter with `truncate = true`."""
    tables = [publisher.settings for publisher in versions.publishers.values()]
    return sorted({t.max_rank for t in tables if isinstance(t, adapter.Settings) and t.truncate})


@span("truncate")
def truncate_and_measure(
    parts: EditParts, proposal: Proposal, candidate: int, delta: "Delta"
) -> None:
    """Truncate an accepted candidate to each configured rank that it exceeds, and examine that.

    The truncated delta sits the same exam and is judged by the same gates.
    """
    from factd.editor.deltas.truncation import is_matrix, truncate  # needs torch

    if not all(map(is_matrix, delta.parts.values())):
        return  # head corrections: an adapter cannot hold them, truncated or not
    for rank in truncation_ranks(parts.versions):
        cut = truncate(delta, rank)
        if cut is not None:
            _measure(parts, proposal, folder_of(parts.paths.candidate(candidate), rank), cut)


def _measure(parts: EditParts, proposal: Proposal, folder: Path, cut: "Delta") -> None:
    from factd.editor.deltas.delta import save_delta  # needs torch
    from factd.editor.exams.exam import AnswerCache

    save_delta(cut, folder / "delta")
    memory = AnswerCache.load(folder / "answers.json")
    examination = examine(
        parts.paths,
        parts.workbench,
        parts.prompts,
        parts.gates,
        proposal,
        cut,
        exam=proposal.exam,  # named, so that the transfer matrix is left out
        memory=memory,
    )
    report = {**examination.report, "truncated": dict(cut.settings["truncated"])}
    write_file(folder / "report.json", json.dumps(report, ensure_ascii=False, indent=1).encode())
    reasons, passed = list(examination.decision.reasons), examination.decision.accepted
    if passed:
        proof_questions.record_proof(
            parts.ledger,
            parts.paths,
            parts.workbench,
            parts.prompts,
            parts.fleet,
            proposal,
            cut,
            folder,
        )
    log.info("adapter truncated", passed=passed, reasons=reasons, **report["truncated"])
