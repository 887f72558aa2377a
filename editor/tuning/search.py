"""Finds layers, step size and second-moment weight: causal tracing, then a search.

Settings do not carry over between models (docs/explanation/editing.md §1, §2), and they do not
follow from a model's size. The search needs a list of facts that the model knows. For every
setting, some of them are edited to the object of another fact. The others are the neighbours, which
must keep their object. Layers are compared where their curves cross the same neighbourhood success,
never at the same weight.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import Any

from factd.editor.edits import Edit
from factd.editor.errors import BadEdit
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent
from factd.editor.scoring.judge import SortedNames, is_right, longer_names
from factd.editor.scoring.score import greedy_answers
from factd.editor.tuning.causal_tracing import Trace, trace
from factd.editor.tuning.trials import (
    KnownFact,
    TrialResult,
    Trials,
    success_and_mean,
    trial_probes,
)

# v_lr in units of ‖z0‖ / √d: a step has this share of the norm of the residual stream
STEP_SHARES = (0.02, 0.08, 0.3, 1.0)
# second_moment_weight in units of the median of kᵀ C⁻¹ k, where edits and old keys weigh the same
WEIGHT_FACTORS = (0.003, 0.03, 0.1, 0.3, 1.0)
GAIN_TOLERANCE = 0.02  # magnitude that is given up for a larger weight
LEVEL_SHARE = 0.97  # of the base model's neighbourhood success; layers are compared there


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The settings that the search found, and the measurements behind them."""

    layers: tuple[int, ...]
    v_lr: float
    second_moment_weight: float
    level: float  # neighbourhood success at which layers were compared
    trace: Trace
    points: tuple[TrialResult, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # the whole [method.memit] table


def known_facts(rows: Iterable[Edit], *, seed: int = 0) -> tuple[KnownFact, ...]:
    """Facts for the search, each with a new object: that of another subject of the same wording.

    Wordings of one fact are joined. The order and the objects depend on the seed only. rows: edits
    whose target_true is today's answer; their target_new is ignored.

    Raises: BadEdit: no two facts share a prompt and differ in target_true.
    """
    wordings: dict[tuple[str, str, str], list[Edit]] = {}
    objects: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.target_true:
            wordings.setdefault((row.language, row.subject, row.target_true), []).append(row)
            objects.setdefault((row.language, row.prompt), set()).add(row.target_true)
    facts = []
    for (language, subject, true), same in wordings.items():
        others = sorted(objects[language, same[0].prompt] - {true})
        if others:
            number = int(
                hashlib.sha256(f"{seed} {language} {subject} {true}".encode()).hexdigest(), 16
            )
            edit = replace(same[0], target_new=others[number % len(others)])
            facts.append(KnownFact(edit=edit, paraphrases=tuple(e.prompt for e in same[1:])))
    if not facts:
        raise BadEdit("no two facts share a prompt and differ in target_true; give more facts")
    return tuple(
        sorted(facts, key=lambda k: hashlib.sha256(f"{seed} {k.edit.key}".encode()).digest())
    )


def tune(
    model: EditableModel,
    facts: Sequence[KnownFact],
    *,
    workspace: Path,
    given: Mapping[str, Any],
    edits: int = 24,
    neighbours: int = 48,
    traced: int = 12,
    progress: Progress = silent,
) -> Tuned:
    """Search settings for a model.

    given: settings of MEMIT that are not searched (templates, terminator, steps …). edits,
    neighbours, traced: at most so many facts are edited, kept as neighbours, and traced.

    Raises: BadEdit: the model knows fewer than 8 of the facts.
    """
    known = [k for k, right in zip(facts, _knows(model, facts), strict=True) if right]
    if len(known) < 8:
        raise BadEdit(
            f"the model answers {len(known)} of {len(facts)} facts right, "
            "and tuning needs at least 8; give more facts that it knows"
        )
    chosen = known[: min(edits, len(known) // 2)]
    rest = known[len(chosen) :]
    traces = trace(model, [k.edit for k in known[:traced]], progress=progress)
    search = Trials(model, chosen, trial_probes(chosen, rest[:neighbours]), given, workspace)
    windows = candidate_layers(traces.best_mlp, len(model.blocks))
    level = LEVEL_SHARE * success_and_mean(search.magnitudes(None)["neighbourhood"])[0]
    points: list[TrialResult] = []
    total = len(STEP_SHARES) + len(WEIGHT_FACTORS) * len(windows)
    start = search.scale(windows[0])
    for share in STEP_SHARES:
        points.append(search.run(windows[0], share * start.step, start.weight * WEIGHT_FACTORS[1]))
        progress("search", len(points), total)
    v_lr = max(points, key=lambda p: p.gain).v_lr
    for layers in windows:
        scale = search.scale(layers)
        for share in WEIGHT_FACTORS:
            points.append(search.run(layers, v_lr * scale.step / start.step, scale.weight * share))
            progress("search", len(points), total)
    return _best(points[len(STEP_SHARES) :], level, traces, tuple(points), given)


def candidate_layers(centre: int, blocks: int) -> tuple[tuple[int, ...], ...]:
    """Windows of consecutive blocks around the block that causal tracing found, nearest first.

    The last window is the lowest blocks.
    """
    width = min(blocks, max(3, min(6, round(blocks / 6))))
    middle = centre - width // 2
    starts = [middle, middle - 1, middle + 1, middle - 2, 0]
    allowed = [
        min(max(start, 0), blocks - width - (1 if blocks > width else 0)) for start in starts
    ]
    return tuple(tuple(range(start, start + width)) for start in dict.fromkeys(allowed))


def _best(
    points: Sequence[TrialResult],
    level: float,
    traces: Trace,
    every: tuple[TrialResult, ...],
    given: Mapping[str, Any],
) -> Tuned:
    """The layers with the highest gain where their curve crosses the level."""
    crossed = {
        layers: crossing([p for p in points if p.layers == layers], level)
        for layers in dict.fromkeys(p.layers for p in points)
    }
    layers = max(crossed, key=lambda k: crossed[k][1])
    weight = float(f"{crossed[layers][0]:.3g}")
    v_lr = next(p.v_lr for p in points if p.layers == layers)
    settings = {
        **given,
        "layers": list(layers),
        "second_moment_weight": weight,
        "v_lr": float(f"{v_lr:.3g}"),
    }
    return Tuned(
        layers=layers,
        v_lr=settings["v_lr"],
        second_moment_weight=weight,
        level=level,
        trace=traces,
        points=every,
        settings=settings,
    )


def crossing(points: Sequence[TrialResult], level: float) -> tuple[float, float]:
    """(weight, gain) of the best setting whose neighbourhood success is at least the level.

    If the curve falls below the level between two weights, the point where it crosses counts too,
    interpolated linearly in log weight. Of all settings whose gain is within GAIN_TOLERANCE of the
    best, the one with the largest weight is taken, because it protects other facts most. If no
    setting reaches the level: (largest weight, -1).
    """
    curve = sorted(points, key=lambda p: -p.second_moment_weight)
    allowed = [(p.second_moment_weight, p.gain) for p in curve if p.neighbourhood >= level]
    for above, below in pairwise(curve):
        if above.neighbourhood >= level > below.neighbourhood:
            share = (above.neighbourhood - level) / (above.neighbourhood - below.neighbourhood)
            logs = log(above.second_moment_weight), log(below.second_moment_weight)
            weight = exp(logs[0] + share * (logs[1] - logs[0]))
            allowed.append((weight, above.gain + share * (below.gain - above.gain)))
    if not allowed:
        return curve[0].second_moment_weight, -1.0
    best = max(gain for _, gain in allowed)
    return max((weight, gain) for weight, gain in allowed if gain >= best - GAIN_TOLERANCE)


def _knows(model: EditableModel, facts: Sequence[KnownFact]) -> list[bool]:
    """Whether the model answers each fact right."""
    texts = greedy_answers(model, [k.edit.prompt.format(k.edit.subject) for k in facts])
    labels = [(str(k.edit.target_true),) for k in facts]
    names = SortedNames(label for (label,) in labels)
    return [
        is_right(text, label, longer=longer_names(label, names))
        for text, label in zip(texts, labels, strict=True)
    ]
