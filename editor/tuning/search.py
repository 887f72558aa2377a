"""Layers, z layer, step size and second-moment weight for a model: causal tracing, then a short search.

Settings do not carry over between models (EDITING §1, §2), and nothing about a model's size tells them. What is needed is a
list of facts that the model knows. Some are edited to another fact's object, for every setting of the search; the others are
the neighbours that must keep their own. Layers are compared where their curves cross the same neighbourhood success, never at
the same weight.
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
from factd.editor.scoring.score import greedy_answers, is_right
from factd.editor.tuning.causal_tracing import Trace, trace
from factd.editor.tuning.trials import (
    KnownFact,
    TrialResult,
    Trials,
    success_and_mean,
    trial_probes,
)

STEP_SHARES = (
    0.02,
    0.08,
    0.3,
    1.0,
)  # v_lr, times ‖z0‖ / √d: a step of this share of the stream's norm
WEIGHT_FACTORS = (
    0.003,
    0.03,
    0.1,
    0.3,
    1.0,
)  # times the median of kᵀ C⁻¹ k, where an edit and old keys weigh the same
GAIN_TOLERANCE = 0.02  # of magnitude, that is given up for a larger weight
LEVEL_SHARE = 0.97  # of the base model's neighbourhood success: where layers are compared


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The settings found, and what they were found from."""

    layers: tuple[int, ...]
    v_lr: float
    second_moment_weight: float
    level: float  # neighbourhood success at which layers were compared
    trace: Trace
    points: tuple[TrialResult, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)  # the whole [method.memit] table


def known_facts(rows: Iterable[Edit], *, seed: int = 0) -> tuple[KnownFact, ...]:
    """Facts with an object to write, that of another subject with the same wording; wordings of one fact are joined.

    rows: edits whose target_true is today's answer; their target_new is not looked at. Raises: BadEdit: none can be used.
    """
    wordings: dict[tuple[str, str, str], list[Edit]] = {}
    objects: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row.target_true:
            wordings.setdefault((row.language, row.subject, row.target_true), []).append(row)
            objects.setdefault((row.language, row.prompt), set()).add(row.target_true)
    found = []
    for (language, subject, true), same in wordings.items():
        others = sorted(objects[language, same[0].prompt] - {true})
        if others:
            number = int(
                hashlib.sha256(f"{seed} {language} {subject} {true}".encode()).hexdigest(), 16
            )
            edit = replace(same[0], target_new=others[number % len(others)])
            found.append(KnownFact(edit=edit, paraphrases=tuple(e.prompt for e in same[1:])))
    if not found:
        raise BadEdit("no two facts share a prompt and differ in target_true; give more facts")
    return tuple(
        sorted(found, key=lambda k: hashlib.sha256(f"{seed} {k.edit.key}".encode()).digest())
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
    """Search. given: settings of MEMIT that are not searched (templates, terminator, steps …).

    Raises: BadEdit: the model knows too few of the facts.
    """
    sure = [k for k, right in zip(facts, _knows(model, facts), strict=True) if right]
    if len(sure) < 8:
        raise BadEdit(
            f"the model answers {len(sure)} of {len(facts)} facts right; tuning needs 8 or more: give facts that it knows"
        )
    chosen = sure[: min(edits, len(sure) // 2)]
    rest = sure[len(chosen) :]
    found = trace(model, [k.edit for k in sure[:traced]], progress=progress)
    search = Trials(model, chosen, trial_probes(chosen, rest[:neighbours]), given, workspace)
    windows = candidate_layers(found.best_mlp, len(model.blocks))
    level = LEVEL_SHARE * success_and_mean(search.measured(None)["neighbourhood"])[0]
    points: list[TrialResult] = []
    total = len(STEP_SHARES) + len(WEIGHT_FACTORS) * len(windows)
    start = search.scale(windows[0])
    for share in STEP_SHARES:
        points.append(
            search.point(windows[0], share * start.step, start.weight * WEIGHT_FACTORS[1])
        )
        progress("search", len(points), total)
    v_lr = max(points, key=lambda p: p.gain).v_lr
    for layers in windows:
        scale = search.scale(layers)
        for share in WEIGHT_FACTORS:
            points.append(
                search.point(layers, v_lr * scale.step / start.step, scale.weight * share)
            )
            progress("search", len(points), total)
    return _best(points[len(STEP_SHARES) :], level, found, tuple(points), given)


def candidate_layers(centre: int, blocks: int) -> tuple[tuple[int, ...], ...]:
    """Windows of blocks around the one that causal tracing points at, and the lowest ones; the nearest first."""
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
    found: Trace,
    every: tuple[TrialResult, ...],
    given: Mapping[str, Any],
) -> Tuned:
    """The layers whose curve is highest where it crosses the level, with the weight there."""
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
        trace=found,
        points=every,
        settings=settings,
    )


def crossing(points: Sequence[TrialResult], level: float) -> tuple[float, float]:
    """(weight, gain) of the best setting whose neighbourhood success is at least a level.

    Where the curve falls below the level between two weights, its crossing counts too, linear in log weight. Of settings
    whose gain is within `ENOUGH` of the best the one with the largest weight is taken: it protects most. (largest weight, -1)
    where none reaches the level.
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
    said = greedy_answers(model, [k.edit.prompt.format(k.edit.subject) for k in facts])
    return [is_right(text, (str(k.edit.target_true),)) for k, text in zip(facts, said, strict=True)]
