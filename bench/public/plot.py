"""The curves of the bench as one figure: neighbours left alone against what was gained."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from factd.bench.public.plan import BASE
from factd.editor.reports.plots import COLOURS, add_axes

PANELS = (  # measures on the horizontal and the vertical axis
    ("neighbourhood success", "edit right"),
    ("neighbourhood success", "paraphrase right"),
    ("bystanders right", "edit right"),
    ("bystanders right", "paraphrase right"),
)


def frontier_figure(document: Mapping[str, Any]) -> Figure:
    """A panel for each pair of measures; a line per method with 95 % intervals.

    Top right is better. document: of `factd bench public`.
    """
    figure = Figure(figsize=(10, 8))
    lines = [line for line in document["figures"] if line["method"] != BASE]
    methods = list(dict.fromkeys(line["method"] for line in lines))
    for number, (x, y) in enumerate(PANELS, start=1):
        axes = add_axes(figure, x, y, (2, 2, number))
        for place, method in enumerate(methods):
            _draw(axes, [r for r in lines if r["method"] == method], x, y, place)
        axes.set_ylim(-0.03, 1.03)
        axes.grid(alpha=0.25, linewidth=0.6)
    figure.axes[0].legend(frameon=False, fontsize=9)
    figure.suptitle(f"{document['model']}, {document['data']}, {document['edits']} edits")
    figure.tight_layout()
    return figure


def _draw(axes: Any, lines: Sequence[Mapping[str, Any]], x: str, y: str, place: int) -> None:
    """The curve of one method, with a label on its first point."""
    found = [r for r in lines if x in r["measures"] and y in r["measures"]]
    found.sort(key=lambda r: r["value"] or 0.0)
    for line in found:
        a, b = line["measures"][x], line["measures"][y]
        if b["low"] is not None:
            axes.vlines(a["value"], b["low"], b["high"], COLOURS[place % len(COLOURS)], alpha=0.3)
    if found:
        axes.plot(
            [r["measures"][x]["value"] for r in found],
            [r["measures"][y]["value"] for r in found],
            "o-",
            color=COLOURS[place % len(COLOURS)],
            label=found[0]["method"],
        )
