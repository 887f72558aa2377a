"""A truncated delta that a worker measured, in the folder of its candidate.

Publishing takes it only if the report beside it says that the gates accepted it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factd.daemon.errors import PublishFailed

if TYPE_CHECKING:
    from factd.editor.deltas.delta import Delta


def accepted_truncation(made: Path, delta: "Delta", rank: int) -> "Delta":
    """A release's delta, truncated to a rank and accepted by the gates.

    made: the candidate's folder. Raises: PublishFailed: the truncated delta was not measured, or
    did not pass.
    """
    from factd.editor.deltas.delta import load_delta  # needs torch

    folder = folder_of(made, rank)
    report = _report(folder)
    if report is None:
        raise PublishFailed(
            f"no adapter cut to rank {rank} was measured when this release was made; "
            "raise [publish.adapter] max_rank, or set truncate = true there and make the release "
            "again (`factd edit --publish`)"
        )
    decision = report["decision"]
    if not decision["accepted"]:
        raise PublishFailed(
            f"the adapter cut to rank {rank} did not pass the gates "
            f"({'; '.join(decision['reasons'][:2])}); raise [publish.adapter] max_rank, publish "
            "the checkpoint alone, or start from a new base with `factd rebase`"
        )
    cut: Delta = load_delta(folder / "delta")
    if report["delta_id"] != cut.id or cut.settings["truncated"]["of"] != delta.id:
        raise PublishFailed(
            f"{folder} is not what was measured; make it again with `factd edit --publish`"
        )
    return cut


def folder_of(made: Path, rank: int) -> Path:
    """The folder of a candidate's delta truncated to a rank, with its report."""
    return made / "adapter" / str(rank)


def _report(folder: Path) -> Mapping[str, Any] | None:
    """The report of a truncated delta, or None if it was not measured."""
    path = folder / "report.json"
    if not path.is_file():
        return None
    report: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return report
