"""A delta whose rank is higher than an adapter may have: cut where the model is, measured by all gates, and only then published.

What the worker made of a candidate lies in its folder, `adapter/RANK/`: the truncated delta, its answers, and report.json with
the decision, and what it says to the questions that servers are asked. Publishing needs no model: it writes a truncated adapter
only where that report says that it passed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.artefacts import proof
from factd.daemon.artefacts.versions import Versions
from factd.daemon.editing.candidates import Case, examined
from factd.daemon.editing.parts import EditParts
from factd.daemon.errors import PublishFailed
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
        proof.record(
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


def measured(made: Path, delta: "Delta", rank: int) -> "Delta":
    """A release's delta, cut to a rank and accepted by the gates. Raises: PublishFailed: it was not measured, or did not pass."""
    from factd.editor.deltas.delta import load_delta

    folder = folder_of(made, rank)
    report = _report(folder)
    if report is None:
        raise PublishFailed(
            f"no adapter cut to rank {rank} was measured when this release was made; raise [publish.adapter] max_rank, or set "
            "truncate = true there and make the release again (`factd edit --publish`)"
        )
    decision = report["decision"]
    if not decision["accepted"]:
        raise PublishFailed(
            f"the adapter cut to rank {rank} did not pass the gates ({'; '.join(decision['reasons'][:2])}); raise "
            "[publish.adapter] max_rank, publish the checkpoint alone, or start from a new base with `factd rebase`"
        )
    found: Delta = load_delta(folder / "delta")
    if report["delta_id"] != found.id or found.settings["truncated"]["of"] != delta.id:
        raise PublishFailed(
            f"{folder} is not what was measured; `factd edit --publish` makes it again"
        )
    return found


def folder_of(made: Path, rank: int) -> Path:
    """Where a candidate's delta, cut to a rank, lies with what was measured of it."""
    return made / "adapter" / str(rank)


def _report(folder: Path) -> Mapping[str, Any] | None:
    """What was measured; None: nothing was."""
    path = folder / "report.json"
    if not path.is_file():
        return None
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
