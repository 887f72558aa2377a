"""Figures show the numbers that they are given, and name what they draw."""

from typing import Any

import pytest
import torch
from matplotlib.figure import Figure

from factd.editor.reports.plots import as_svg, relevance_figure, trace_figure, tuning_figure
from factd.editor.tuning.causal_tracing import Trace
from factd.editor.tuning.trials import Measured, Place, TrialResult


def axes_of(figure: Figure) -> Any:
    """The first axes of a figure."""
    return figure.axes[0]


def trial(layers: tuple[int, ...], locality: float, gain: float) -> TrialResult:
    took = Measured(accuracy=gain, magnitude=2 * gain - 1)
    return TrialResult(
        place=Place(layers),
        v_lr=0.5,
        second_moment_weight=1000.0,
        edits=4,
        efficacy=took,
        paraphrase=took,
        neighbourhood=Measured(success=locality),
        kept=locality,
        retained=locality,
    )


def test_causal_tracing_has_a_curve_for_each_place_and_names_both_probabilities() -> None:
    traces = Trace(
        stream=(0.1, 0.4, 0.2),
        mlp=(0.3, 0.5, 0.1),
        last=(0.0, 0.1, 0.6),
        clean=0.91,
        corrupted=0.07,
        facts=5,
    )
    axes = axes_of(trace_figure(traces))
    drawn = {tuple(line.get_ydata()) for line in axes.lines}
    assert drawn == {traces.stream, traces.mlp, traces.last}
    assert "0.91" in axes.get_title() and "0.07" in axes.get_title()


def test_a_search_has_a_curve_for_each_choice_of_layers_sorted_by_locality() -> None:
    points = [trial((0, 1), 0.9, 0.2), trial((2, 3), 0.8, 0.4), trial((0, 1), 0.7, 0.5)]
    axes = axes_of(tuning_figure(points, level=0.75))
    first, second, level = axes.lines
    assert list(first.get_xdata()) == pytest.approx([0.7, 0.9])
    assert list(first.get_ydata()) == pytest.approx([0.5, 0.2])
    assert list(second.get_xdata()) == pytest.approx([0.8])
    assert set(level.get_xdata()) == {0.75}
    assert [text.get_text() for text in axes.get_legend().get_texts()] == [
        "layers 0-1, spread, step 0.5, 4 edits",
        "layers 2-3, spread, step 0.5, 4 edits",
    ]


def test_heads_are_drawn_by_layer_and_corrected_ones_are_framed() -> None:
    relevance = torch.tensor([[0.5, 0.6, 0.7], [0.8, 0.9, 1.0]])
    figure = relevance_figure(relevance, [(1, 2)])
    axes = axes_of(figure)
    assert (axes.images[0].get_array() == relevance.numpy()).all()
    (frame,) = axes.lines
    assert (list(frame.get_xdata()), list(frame.get_ydata())) == ([2], [1])
    assert "<svg" in as_svg(figure, "heads")
