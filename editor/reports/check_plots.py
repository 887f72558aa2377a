"""Figures of a check report: answers, held-out texts, weights, and transfer between languages."""

from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from factd.editor.checks import Measurement
from factd.editor.reports.plots import (
    COLOURS,
    SIZE,
    add_axes,
    answers_figure,
    measurements_figure,
    norms_figure,
)

Rows = Sequence[Measurement]
Points = Mapping[str, Sequence[tuple[float, float]]]  # kind -> probability (before, after)
History = Sequence[Mapping[str, Any]]  # {"release", "norms": {name: ratio}}, oldest first
MAX_VECTOR_POINTS = 500  # more points are drawn as pixels, to keep the page small
WEIGHT_NORM = "weight_norm_ratio"


def check_figures(rows: Rows, points: Points, history: History) -> dict[str, Figure]:
    """The figures of a report by title. Figures without data are left out."""
    norms = {m.metric: m.value for m in rows if m.check == "norms"}
    return {
        **_of_points({kind: pairs for kind, pairs in points.items() if pairs}),
        **_of_answers([m for m in rows if m.metric in ("generation", "kept")]),
        **_of_drift([m for m in rows if (m.check, m.metric) == ("drift", "perplexity_ratio")]),
        **_of_pairs(rows),
        **_of_releases(history, norms),
        **_of_layers(norms),
    }


def _of_points(points: Points) -> dict[str, Figure]:
    title = (
        "Probability of the expected answer, before and after; "
        "points on the diagonal did not change"
    )
    return {title: points_figure(points)} if points else {}


def _of_answers(rows: Rows) -> dict[str, Figure]:
    title = (
        "Right answers of the base model, "
        "the live release and the edited model, with 95 % intervals"
    )
    return {title: answers_figure(rows)} if rows else {}


def _of_drift(rows: Rows) -> dict[str, Figure]:
    title = "Drift: perplexity of held-out text against the base model; 1 is as good as before"
    return {title: measurements_figure(rows, "perplexity ratio")} if rows else {}


def _of_pairs(rows: Rows) -> dict[str, Figure]:
    transfer = "Transfer: facts written in one language, asked in another"
    figures: dict[str, Figure] = {}
    for check, metric, mark, title in (
        ("transfer", "generation", "→", f"{transfer}; right answers"),
        ("transfer", "accuracy", "→", f"{transfer}; accuracy, teacher forced"),
        ("rank_consistency", "rankc", "~", "RankC: do two languages rank the candidates alike?"),
    ):
        own = [m for m in rows if (m.check, m.metric) == (check, metric) and mark in m.language]
        if own:
            figures[title] = matrix_figure(own, mark)
    return figures


def _of_releases(history: History, norms: Mapping[str, float]) -> dict[str, Figure]:
    steps = [(str(entry["release"]), entry["norms"]) for entry in history] + [("now", norms)]
    layers = sorted(
        {name for _, held in steps for name in held if name.endswith(WEIGHT_NORM)}, key=layer_number
    )
    title = "Norms of the edited weights over the releases, by layer; 1 is the base model"
    return {title: releases_figure(steps, layers)} if history and layers else {}


def _of_layers(norms: Mapping[str, float]) -> dict[str, Figure]:
    drawn = any(name.endswith(("update_norm_ratio", "leverage_max")) for name in norms)
    title = "The edited layers: how far each moved, and how much of its capacity the edits use"
    return {title: norms_figure(norms)} if drawn else {}


def layer_number(name: str) -> int:
    """5 from "layer.5.weight_norm_ratio"."""
    return int(name.split(".")[1])


def points_figure(points: Points) -> Figure:
    """The probability of the expected answer before and after, one plot per kind of probe."""
    columns = min(3, len(points))
    lines = -(-len(points) // columns)
    figure = Figure(figsize=(SIZE[0], 0.5 + lines * SIZE[0] / columns))
    for place, (kind, pairs) in enumerate(points.items(), 1):
        axes = add_axes(figure, "before", "after", (lines, columns, place))
        axes.set_title(f"{kind}, {len(pairs)}", fontsize=10)
        axes.plot([0, 1], [0, 1], color="#8a8f98", linewidth=0.8)
        _scatter(axes, pairs, COLOURS[(place - 1) % len(COLOURS)])
        limits = (-0.04, 1.04)
        axes.set(xlim=limits, ylim=limits, aspect="equal", xticks=[0, 1], yticks=[0, 1])
    return figure


def _scatter(axes: Any, pairs: Sequence[tuple[float, float]], colour: str) -> None:
    many = len(pairs) > MAX_VECTOR_POINTS
    size, alpha = (6, 0.25) if many else (10, 0.5)
    before, after = zip(*pairs, strict=True)
    axes.scatter(before, after, s=size, alpha=alpha, color=colour, linewidths=0, rasterized=many)


def matrix_figure(rows: Rows, mark: str) -> Figure:
    """A heat map of pairs of languages. mark: "→" or "~", which separates the two in a pair's name.

    For "→" the rows are the languages written in, the columns those asked in. For "~" the pair has
    no order and is drawn once, below the diagonal.
    """
    pairs = {(m.language.split(mark)[0], m.language.split(mark)[1]): m for m in rows}
    if mark == "~":
        pairs = {(two, one): m for (one, two), m in pairs.items()}
    sources, targets = (list(dict.fromkeys(sorted(p[side] for p in pairs))) for side in (0, 1))
    figure = Figure(figsize=(min(SIZE[0], 2.3 + 0.75 * len(targets)), 1.2 + 0.42 * len(sources)))
    axes = add_axes(figure, *(("", "") if mark == "~" else ("asked in", "written in")))
    values = [[_value(pairs.get((s, t))) for t in targets] for s in sources]
    image = axes.pcolormesh(np.ma.masked_invalid(values), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image).ax.tick_params(labelsize=9)
    for (source, target), measurement in pairs.items():
        _cell(axes, targets.index(target) + 0.5, sources.index(source) + 0.5, measurement)
    axes.set_xticks(np.arange(len(targets)) + 0.5, targets)
    axes.set_yticks(np.arange(len(sources)) + 0.5, sources)
    axes.invert_yaxis()
    return figure


def _value(cell: Measurement | None) -> float:
    return cell.value if cell else nan


def _cell(axes: Any, x: float, y: float, cell: Measurement) -> None:
    """Write the value, and below it in small print the base model's."""
    if not isfinite(cell.value):
        return
    ink = "#ffffff" if cell.value > 0.55 else "#111111"
    axes.text(x, y, f"{cell.value:.2f}", ha="center", va="bottom", fontsize=10, color=ink)
    if cell.before is not None:
        was = f"was {cell.before:.2f}"
        axes.text(x, y + 0.06, was, ha="center", va="top", fontsize=8, color=ink)


def releases_figure(
    steps: Sequence[tuple[str, Mapping[str, float]]], layers: Sequence[str]
) -> Figure:
    """‖W‖ / ‖W of the base‖ of every edited layer, per release; the last step is the candidate."""
    figure = Figure(figsize=SIZE)
    axes = add_axes(figure, "release", "‖W‖ / ‖W of the base‖")
    axes.axhline(1.0, color="#8a8f98", linewidth=0.8)
    for place, name in enumerate(layers):
        values = [norms.get(name, nan) for _, norms in steps]
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(values, "o-", color=colour, markersize=4, label=f"layer {layer_number(name)}")
    axes.set_xticks(range(len(steps)), [release for release, _ in steps])
    figure.legend(loc="upper right", ncols=min(4, len(layers)), frameon=False, fontsize=9)
    return figure
