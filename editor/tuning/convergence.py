"""Is the sample of the second moments large enough?

Measures how an edit changes if the sample is halved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from factd.editor.deltas.delta import Delta, applied
from factd.editor.edits import EditBatch
from factd.editor.methods import memit
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent
from factd.editor.scoring.score import forced_scores


@dataclass(frozen=True, kw_only=True)
class HalvedSample:
    """An edit with a smaller sample, compared with the edit with the full sample."""

    tokens: int  # of the smaller sample
    update_change: float  # ‖ΔW - ΔW_full‖ / ‖ΔW_full‖, Frobenius, over all layers
    nll_change: float  # mean |nll - nll_full| of the targets, nats per token


def convergence(
    model: EditableModel,
    batch: EditBatch,
    *,
    settings: memit.Settings,
    workspace: Path,
    halvings: int = 3,
    progress: Progress = silent,
) -> tuple[HalvedSample, ...]:
    """The batch edited with samples of N, N/2, N/4, … tokens, each compared with N.

    Values are computed once.

    Raises: as `memit.edit`.
    """
    sizes = [max(1, settings.second_moment_tokens >> n) for n in range(halvings + 1)]
    deltas = [
        memit.edit(
            model,
            batch,
            settings=replace(settings, second_moment_tokens=size),
            workspace=workspace,
            progress=progress,
        )
        for size in sizes
    ]
    pairs = [(e.prompt.format(e.subject), e.target_new + settings.terminator) for e in batch.edits]
    scores = [_nll(model, delta, pairs) for delta in deltas]
    return tuple(
        HalvedSample(
            tokens=size,
            update_change=_change(delta, deltas[0]),
            nll_change=fmean(abs(a - b) for a, b in zip(own, scores[0], strict=True)),
        )
        for size, delta, own in zip(sizes[1:], deltas[1:], scores[1:], strict=True)
    )


def _nll(model: EditableModel, delta: Delta, pairs: Sequence[tuple[str, str]]) -> list[float]:
    with applied(model, delta):
        return [nll for nll, _ in forced_scores(model, pairs)]


def _change(delta: Delta, full: Delta) -> float:
    """‖ΔW - ΔW_full‖ / ‖ΔW_full‖ over all layers."""
    error = sum(
        float((delta.parts[n].matrix() - p.matrix()).pow(2).sum()) for n, p in full.parts.items()
    )
    size = sum(float(p.matrix().pow(2).sum()) for p in full.parts.values())
    return float((error / size) ** 0.5)
