"""Figures of a report as SVG text; nothing is shown or written, no global state of the plotting library is touched."""

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from torch import Tensor

from editor.checks import Measurement
from editor.tracing import Trace
from editor.trials import Point

SIZE = (7.0, 3.6)


def as_svg(figure: Figure) -> str:
    """A figure as SVG, the same text for the same figure."""
    figure.tight_layout()
    out = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "factd"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def axes_of(figure: Figure, x: str, y: str) -> Any:
    """The axes of an empty figure, with names."""
    found = figure.add_subplot()
    found.set_xlabel(x)
    found.set_ylabel(y)
    return found


def answers_figure(measurements: Sequence[Measurement]) -> Figure:
    """Right answers before and after, with 95 % intervals, by check and language."""
    rows = [m for m in measurements if m.metric in ("generation", "kept")]
    figure = Figure(figsize=(SIZE[0], max(1.5, 0.32 * len(rows) + 1.0)))
    axes = axes_of(figure, "share of right answers, greedy", "")
    for place, row in enumerate(rows):
        axes.plot([row.low, row.high], [place, place], color="C0", linewidth=3, alpha=0.35)
        axes.plot([row.value], [place], "o", color="C0")
        if row.before is not None:
            axes.plot([row.before], [place], "|", color="C3", markersize=10)
    axes.set_yticks(range(len(rows)), [f"{row.check} {row.language}" for row in rows])
    axes.set_xlim(-0.02, 1.02)
    axes.invert_yaxis()
    return figure


def norms_figure(diagnostics: Mapping[str, float]) -> Figure:
    """How far each layer's weight moved, and the highest leverage of an edit there."""
    figure = Figure(figsize=SIZE)
    axes = axes_of(figure, "layer", "ratio")
    for name, label in (("update_norm_ratio", "‖ΔW‖ / ‖W‖"), ("leverage_max", "highest leverage")):
        found = sorted(
            (int(key.split(".")[1]), value)
            for key, value in diagnostics.items()
            if key.endswith(name)
        )
        if found:
            axes.plot([n for n, _ in found], [v for _, v in found], "o-", label=label)
    axes.legend(fontsize=8)
    return figure


def relevance_figure(relevance: Tensor, heads: Sequence[tuple[int, int]]) -> Figure:
    """Validation accuracy of the probe of every head, (layers, heads); the corrected ones are framed."""
    layers, count = relevance.shape
    figure = Figure(figsize=(max(3.5, 0.25 * count + 2), max(2.5, 0.2 * layers + 1.5)))
    axes = axes_of(figure, "head", "layer")
    image = axes.imshow(relevance.numpy(), vmin=0.5, vmax=1.0, cmap="viridis", aspect="auto")
    figure.colorbar(image, label="probe accuracy, validation")
    for layer, head in heads:
        axes.plot([head], [layer], "s", markerfacecolor="none", markeredgecolor="red", markersize=9)
    return figure


def trace_figure(found: Trace) -> Figure:
    """Indirect effects by block."""
    figure = Figure(figsize=SIZE)
    axes = axes_of(figure, "block", "probability that returns")
    for values, label in (
        (found.mlp, "MLP outputs around the block, subject's last token"),
        (found.stream, "stream after the block, subject's last token"),
        (found.last, "stream after the block, last token"),
    ):
        axes.plot(values, "o-", label=label)
    axes.set_title(f"answer {found.clean:.2f}, with noise on the subject {found.corrupted:.2f}")
    axes.legend(fontsize=8)
    return figure


def tuning_figure(points: Sequence[Point], level: float) -> Figure:
    """Gain of the edits against neighbourhood success, a curve per choice of layers."""
    figure = Figure(figsize=SIZE)
    axes = axes_of(figure, "neighbourhood success", "magnitude of edits and other wordings")
    for layers in dict.fromkeys(point.layers for point in points):
        curve = sorted((p.neighbourhood, p.gain) for p in points if p.layers == layers)
        label = f"layers {layers[0]}–{layers[-1]}"
        axes.plot([x for x, _ in curve], [y for _, y in curve], "o-", label=label)
    axes.axvline(level, color="grey", linewidth=0.5)
    axes.legend(fontsize=8)
    return figure
