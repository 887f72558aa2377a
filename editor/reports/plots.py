"""Figures of a report as SVG text.

Nothing is shown on a screen or written to a file, and no global state of the plotting library
changes. One figure serves light and dark pages: its background is transparent, and black ink takes
the colour of the text around the figure.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from torch import Tensor

from factd.editor.checks import Measurement
from factd.editor.tuning.causal_tracing import Trace
from factd.editor.tuning.trials import TrialResult

SIZE = (5.2, 3.2)  # inches; legible on a phone at three quarters of this size
AFTER, BASE, LIVE = (
    "#3b7dd8",
    "#d1495b",
    "#b07a00",
)  # contrast of 3:1 or more on white and near black
COLOURS = (AFTER, "#c96a00", "#22895c", "#9a5fc8", BASE, "#6f7b87")
NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
DPI = 160  # of parts that are drawn as pixels


def as_svg(figure: Figure, name: str = "") -> str:
    """A figure as SVG. The same figure and name give the same bytes; text stays text.

    Ids are unique, so that several figures with different names can stand in one page. name: the
    text for readers who see no pictures.
    """
    figure.tight_layout()
    out = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "factd", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata=NO_METADATA, transparent=True, dpi=DPI)
    drawn = re.sub(r"#000000|(?<=px )'[^;\"]+sans-serif", _page_style, out.getvalue())
    return _labelled(_with_own_ids(drawn, name), name)


def _page_style(match: re.Match[str]) -> str:
    """The page's colour instead of black, and the page's font instead of the figure's."""
    return "currentColor" if match[0].startswith("#") else "sans-serif"


def _with_own_ids(svg: str, name: str) -> str:
    """An SVG whose ids begin with a mark of this figure. Ids that nothing refers to are removed."""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    mark = "f" + sha256((name + svg).encode()).hexdigest()[:8]

    def renamed(match: re.Match[str]) -> str:
        return f' id="{mark}-{match[1]}"' if match[1] in used else ""

    named = re.sub(r' id="([^"]+)"', renamed, svg)
    return re.sub(r'((?:href="|url\()#)', rf"\g<1>{mark}-", named)


def _labelled(svg: str, name: str) -> str:
    label = f'<svg role="img" aria-label="{escape(name)}" '
    return svg.replace("<svg ", label, 1) if name else svg


def add_axes(figure: Figure, x: str, y: str, place: tuple[int, int, int] = (1, 1, 1)) -> Any:
    """Add labelled axes without a frame to a figure. place: (rows, columns, number) in its grid."""
    axes = figure.add_subplot(*place)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9, length=3)
    return axes


def answers_figure(measurements: Sequence[Measurement]) -> Figure:
    """The shares of right answers with 95 % intervals, by check and language.

    Shown for the base model, the live release and the edited model.
    """
    rows = [m for m in measurements if m.metric in ("generation", "kept")]
    return measurements_figure(rows, "share of right answers, greedy", (-0.02, 1.02))


def measurements_figure(
    rows: Sequence[Measurement], label: str, ends: tuple[float, float] | None = None
) -> Figure:
    """A line per measurement: value, interval, and the base's and the live release's value.

    ends: of the horizontal axis.
    """
    figure = Figure(figsize=(SIZE[0], 0.21 * len(rows) + 1.1))
    axes = add_axes(figure, label, "")
    places = range(len(rows))
    axes.hlines(places, [m.low for m in rows], [m.high for m in rows], AFTER, lw=4, alpha=0.35)
    for values, mark, colour, name in _series(rows):
        if any(value is not None for value in values):
            numbers = [float("nan") if value is None else value for value in values]
            axes.plot(numbers, places, mark, color=colour, label=name, mew=2, ms=mark_size(mark))
    axes.set_yticks(places, [f"{m.check.replace('_', ' ')}  {m.language}" for m in rows])
    axes.set_xlim(ends)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(axis="x", alpha=0.25, linewidth=0.6)
    figure.legend(loc="upper right", ncols=3, frameon=False, fontsize=9, handletextpad=0.2)
    return figure


def _series(rows: Sequence[Measurement]) -> tuple[tuple[list[float | None], str, str, str], ...]:
    """The values of each model with their mark, colour and name."""
    return (
        ([m.before for m in rows], "|", BASE, "base model"),
        ([m.live for m in rows], "x", LIVE, "live release"),
        ([m.value for m in rows], "o", AFTER, "after, 95 %"),
    )


def mark_size(mark: str) -> float:
    """The size of a mark in points: a stroke must be longer than a dot is wide."""
    return {"|": 9.0, "x": 5.0}.get(mark, 4.0)


def norms_figure(diagnostics: Mapping[str, float]) -> Figure:
    """How far each layer's weight moved, and below it the highest leverage of an edit."""
    by_label = {
        label: sorted((int(k.split(".")[1]), v) for k, v in diagnostics.items() if k.endswith(name))
        for name, label in (
            ("update_norm_ratio", "‖ΔW‖ / ‖W‖"),
            ("leverage_max", "highest leverage"),
        )
    }
    shown = {label: values for label, values in by_label.items() if values}
    figure = Figure(figsize=(SIZE[0], 0.6 + 1.5 * max(1, len(shown))))
    for place, (label, values) in enumerate(shown.items(), 1):
        axes = add_axes(figure, "layer", label, (len(shown), 1, place))
        axes.plot([n for n, _ in values], [v for _, v in values], "o-", color=COLOURS[place - 1])
        axes.set_xticks([n for n, _ in values])
        axes.set_ylim(bottom=0)
    return figure


def relevance_figure(relevance: Tensor, heads: Sequence[tuple[int, int]]) -> Figure:
    """The validation accuracy of every head's probe, (layers, heads).

    Corrected heads are framed.
    """
    layers, count = relevance.shape
    figure = Figure(figsize=(max(3.5, 0.25 * count + 2), max(2.5, 0.2 * layers + 1.5)))
    axes = add_axes(figure, "head", "layer")
    image = axes.imshow(relevance.numpy(), vmin=0.5, vmax=1.0, cmap="viridis", aspect="auto")
    figure.colorbar(image, label="probe accuracy, validation")
    for layer, head in heads:
        axes.plot([head], [layer], "s", markerfacecolor="none", markeredgecolor="red", markersize=9)
    return figure


def trace_figure(traces: Trace) -> Figure:
    """The indirect effects of causal tracing, by block."""
    figure = Figure(figsize=SIZE)
    axes = add_axes(figure, "block", "restored probability")
    for values, label in (
        (traces.mlp, "MLP outputs around the block, subject's last token"),
        (traces.stream, "stream after the block, subject's last token"),
        (traces.last, "stream after the block, last token"),
    ):
        axes.plot(values, "o-", label=label)
    axes.set_title(f"answer {traces.clean:.2f}, with noise on the subject {traces.corrupted:.2f}")
    axes.legend(fontsize=8, frameon=False)
    return figure


def tuning_figure(points: Sequence[TrialResult], level: float) -> Figure:
    """The gain of the edits against locality, one curve for each choice of layers and step."""
    figure = Figure(figsize=SIZE)
    axes = add_axes(figure, "locality: other facts as before", "gain: edits and other wordings")
    for key in dict.fromkeys((p.place, p.v_lr, p.edits) for p in points):
        place, v_lr, edits = key
        own = [p for p in points if (p.place, p.v_lr, p.edits) == key]
        curve = sorted((p.locality, p.gain) for p in own)
        label = f"{place}, step {v_lr:.2g}, {edits} edits"
        axes.plot([x for x, _ in curve], [y for _, y in curve], "o-", label=label)
    axes.axvline(level, color="grey", linewidth=0.5)
    axes.legend(fontsize=8, frameon=False)
    return figure
