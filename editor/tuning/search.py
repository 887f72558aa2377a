"""Finds layers, step size and second-moment weight: causal tracing, then a search in bounded time.

Settings do not carry over between models (docs/explanation/editing.md §1, §2), and they do not
follow from a model's size. The search needs a list of facts that the model knows. For every
setting, some of them are edited to the object of another fact. The others must keep their object.

The search goes from coarse to fine. Few edits with few prefixes choose among windows of layers,
kinds of targets and steps; then all edits choose the weight, for the best place and the runner-up.
Along the weight it climbs: values do not depend on the weight, so these trials cost a solve and a
measurement. Places are compared where their curves cross the same locality, never at the same
weight. When the time is over, the best setting so far is the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import Any

from factd.editor.methods._write import language_templates, second_moments
from factd.editor.models.model import EditableModel
from factd.editor.progress import Progress, silent
from factd.editor.tuning.budget import TimeBudget
from factd.editor.tuning.causal_tracing import Trace, trace
from factd.editor.tuning.known import known_to
from factd.editor.tuning.trials import KnownFact, Place, TrialResult, Trials, trial_probes

# v_lr in units of ‖z0‖ / √d: a step has this share of the norm of the residual stream
FIRST_STEP, STEP_FACTOR, OTHER_STEPS = 0.08, 4.0, 2
# second_moment_weight in units of the median of kᵀ C⁻¹ k, where edits and old keys weigh the same
FIRST_WEIGHT, COARSE_FACTOR, FINE_FACTOR = 0.5, 6.0, 2.5
COARSE_EDITS, COARSE_PREFIXES = 8, 2
COARSE_TRIALS, FINE_TRIALS = 2, 5  # along the weight
FINE_SHARE = 0.4  # of the time, left for fine trials
TRACING_SAMPLES = 2
DEPTHS = (0.28, 0.4)  # of the z layer, as a share of the blocks: GPT-J, Llama 3 and GPT-2 XL
GAIN_TOLERANCE = 0.02  # gain that is given up for a larger weight


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The settings that the search found, and the measurements behind them."""

    layers: tuple[int, ...]
    targets: str  # "replay" or "spread"
    v_lr: float
    second_moment_weight: float
    level: float  # locality at which layers were compared
    trace: Trace
    points: tuple[TrialResult, ...]
    known: int  # facts that the model knew, of
    asked: int  # facts that it was asked
    seconds: float  # that the search took
    skipped: tuple[str, ...] = ()  # trials for which there was no time left
    settings: Mapping[str, Any] = field(default_factory=dict)  # the whole [method.memit] table


def tune(
    model: EditableModel,
    facts: Sequence[KnownFact],
    *,
    workspace: Path,
    given: Mapping[str, Any],
    budget: TimeBudget,
    edits: int = 24,
    others: int = 20,
    traced: int = 6,
    progress: Progress = silent,
) -> Tuned:
    """Search settings for a model, in about the time of the budget.

    At least one trial is made, however long it takes. given: settings of MEMIT that are not
    searched (templates, terminator, steps …). edits, traced: at most so many facts are edited and
    traced; others: at most so many neighbours and so many bystanders must stay.

    Raises: BadEdit: the model knows fewer than 8 of the facts.
    """
    known, asked = known_to(model, facts, edits + 3 * others, budget, progress)
    chosen = known[: min(edits, len(known) // 2)]
    rest = known[len(chosen) :]
    traces = trace(
        model, [k.edit for k in known[:traced]], samples=TRACING_SAMPLES, progress=progress
    )
    windows = candidate_layers(traces, len(model.blocks))
    languages = {k.edit.language for k in chosen}
    seed = int(given.get("seed", 0))
    templates = language_templates(model, languages, given.get("templates", {}), seed=seed)
    own = {
        "second_moment_tokens": sample_tokens(model),
        **given,
        "templates": templates,
    }
    search = Search(
        coarse=_coarse(model, chosen, rest, own, workspace, others, progress),
        fine=Trials(
            model, chosen, trial_probes(chosen, rest, others=others), own, workspace, progress
        ),
        budget=budget,
        progress=progress,
    )
    every = tuple(sorted({layer for window in windows for layer in window}))
    with budget.measured("second moments"):  # of all windows in one pass
        second_moments(model, search.fine.settings(Place(every), 1.0, 1.0), workspace, progress)
    kinds = [given["targets"]] if "targets" in given else ["replay", "spread"]
    search.run(windows, kinds)
    return _tuned(search, traces, given, len(known), asked)


def _coarse(
    model: EditableModel,
    chosen: Sequence[KnownFact],
    rest: Sequence[KnownFact],
    given: Mapping[str, Any],
    workspace: Path,
    others: int,
    progress: Progress,
) -> Trials:
    """Cheap trials: fewer edits and prefixes. They only put places and steps into an order."""
    few = chosen[:COARSE_EDITS]
    short = {
        **given,
        "templates": {k: tuple(v)[:COARSE_PREFIXES] for k, v in given["templates"].items()},
    }
    probes = trial_probes(few, [*rest, *chosen[len(few) :]], others=others // 2)
    return Trials(model, few, probes, short, workspace, progress)


def sample_tokens(model: EditableModel) -> int:
    """The size of the sample of the second moments: four times their width, at least 8,000."""
    return max(8_000, 4 * int(model.weight(0).shape[1]))


def candidate_layers(traces: Trace, blocks: int) -> tuple[tuple[int, ...], ...]:
    """Windows of consecutive blocks that are tried, at most five.

    The last block of a window is the z layer. Causal tracing says where the subject still holds the
    fact: up to the block whose restored stream has the largest effect. But it does not decide where
    edits take best (arXiv:2301.04213). So windows end there, around the block with the largest
    effect of MLP outputs, at the depths that authors used (DEPTHS), and at the lowest blocks.
    """
    width = min(blocks, max(3, min(6, round(blocks / 6))))
    depths = [round(depth * blocks) - 1 for depth in DEPTHS]
    ends = [depths[0], traces.best_stream, depths[1], traces.best_mlp + width // 2, width - 1]
    highest = blocks - 1 - (1 if blocks > width else 0)
    allowed = [min(max(end, width - 1), highest) for end in ends]
    return tuple(tuple(range(end + 1 - width, end + 1)) for end in dict.fromkeys(allowed))


@dataclass
class Search:
    """The trials that were made, and the time for more."""

    coarse: Trials
    fine: Trials
    budget: TimeBudget
    progress: Progress = silent
    rough: list[TrialResult] = field(default_factory=list)
    points: list[TrialResult] = field(default_factory=list)
    planned: int = 0

    def run(self, windows: Sequence[tuple[int, ...]], kinds: Sequence[str]) -> None:
        """Coarse trials of windows, kinds of targets and steps; fine ones of the best two places.

        kinds: of targets; the windows are tried with the first one.
        """
        coarse = COARSE_TRIALS * (len(windows) + len(kinds[1:]) + OTHER_STEPS)
        self.planned = coarse + 2 * FINE_TRIALS
        self.progress("search", 0, self.planned)
        for window in windows:
            self._explore(Place(window, kinds[0]), FIRST_STEP)
        for kind in kinds[1:]:
            self._explore(Place(best(self.rough).layers, kind), FIRST_STEP)
        self._explore_steps(best(self.rough).place)
        ranked = sorted(self.rough, key=lambda p: -p.score)
        runner_up = [p for p in ranked if p.place != ranked[0].place]
        for point in (ranked[0], *runner_up[:1]):
            step = point.v_lr / self.coarse.scale(point.place).step
            start = self.factor(self.coarse, point)
            self.climb(self.fine, point.place, step, start, FINE_FACTOR, FINE_TRIALS)
        self.progress("search", self.planned, self.planned)

    def _explore(self, place: Place, step: float) -> None:
        """Coarse trials, from the best weight so far."""
        start = self.factor(self.coarse, best(self.rough)) if self.rough else FIRST_WEIGHT
        self.climb(self.coarse, place, step, start, COARSE_FACTOR, COARSE_TRIALS)

    def _explore_steps(self, place: Place) -> None:
        """Larger steps than the first while they are better, or else smaller ones."""
        exponent, direction = 0, 1
        for _ in range(OTHER_STEPS):
            before = best(self.rough)
            exponent += direction
            self._explore(place, FIRST_STEP * STEP_FACTOR**exponent)
            if best(self.rough) is before:
                if direction < 0 or exponent > 1:
                    return
                exponent, direction = 0, -1

    def factor(self, trials: Trials, point: TrialResult) -> float:
        """The weight of a trial in the unit of its place."""
        return point.second_moment_weight / trials.scale(point.place).weight

    def climb(
        self,
        trials: Trials,
        place: Place,
        step: float,
        start: float,
        ratio: float,
        most: int,
    ) -> None:
        """Trials along the weight, from `start` towards the higher score, by a ratio each.

        step, start: in the units of the place. most: trials, at most.
        """
        tried: dict[int, TrialResult] = {}  # by exponent of the ratio
        following: int | None = 0
        while following is not None and len(tried) < most:
            point = self._try(trials, place, step, start * ratio**following)
            if point is None:
                return
            tried[following] = point
            following = next_exponent(tried)

    def _try(self, trials: Trials, place: Place, step: float, factor: float) -> TrialResult | None:
        """A trial; None if there is no time for it."""
        is_coarse = trials is self.coarse
        scale = trials.scale(place)
        v_lr, weight = step * scale.step, factor * scale.weight
        found = self.rough if is_coarse else self.points
        values = {(p.place.z_layer, p.v_lr) for p in found}
        is_new = (place.z_layer, v_lr) not in values
        behind = f"trial, {'new' if is_new else 'same'} values"
        kind = f"{'coarse' if is_coarse else 'fine'} {behind}"
        what = f"{place}, v_lr {v_lr:.3g}, weight {weight:.3g}"
        work = {
            "reserve": FINE_SHARE * self.budget.seconds if is_coarse else 0.0,
            "guess": self._fine_per_coarse * self.budget.expected(f"coarse {behind}"),
        }
        is_first = not self.points and not self.rough
        if not is_first and not self.budget.allows(kind, f"{kind}: {what}", **work):
            return None
        with self.budget.measured(kind):
            point = trials.run(place, v_lr, weight)
        found.append(point)
        done = len(self.rough) + len(self.points)
        self.progress("search", min(done, self.planned), self.planned)
        return point

    @property
    def _fine_per_coarse(self) -> float:
        """How many times longer a fine trial takes than a coarse one: by edits and prefixes."""
        rows = [
            len(trials.chosen) * (1 + max(map(len, trials.given["templates"].values()), default=0))
            for trials in (self.fine, self.coarse)
        ]
        return rows[0] / rows[1]


def next_exponent(tried: Mapping[int, TrialResult]) -> int | None:
    """Where to go on from tried places on a line; None if the best place lies between two others.

    A larger weight keeps more and lets edits take less. So the side that is weaker at the best
    place says where to go first.
    """
    top = max(tried, key=lambda k: tried[k].score)
    stronger = tried[top].gain < tried[top].locality
    sides = (top - 1, top + 1) if stronger else (top + 1, top - 1)
    return next((k for k in sides if k not in tried), None)


def best(points: Sequence[TrialResult]) -> TrialResult:
    """The trial with the highest score, of at least one."""
    return max(points, key=lambda p: p.score)


def _tuned(
    search: Search, traces: Trace, given: Mapping[str, Any], known: int, asked: int
) -> Tuned:
    """The curve with the highest gain where it crosses the locality of the best trial."""
    points = search.points or search.rough
    top = best(points)
    curves: dict[tuple[Place, float], list[TrialResult]] = {}
    for point in points:
        curves.setdefault((point.place, point.v_lr), []).append(point)
    crossed = {key: crossing(curve, top.locality) for key, curve in curves.items()}
    place, v_lr = max(crossed, key=lambda k: crossed[k][1])
    weight = crossed[place, v_lr][0]
    rounded = {
        "layers": list(place.layers),
        "targets": place.targets,
        "v_lr": float(f"{v_lr:.3g}"),
        "second_moment_weight": float(f"{weight:.3g}"),
        "second_moment_tokens": search.fine.given["second_moment_tokens"],
    }
    return Tuned(
        layers=place.layers,
        targets=place.targets,
        v_lr=rounded["v_lr"],
        second_moment_weight=rounded["second_moment_weight"],
        level=top.locality,
        trace=traces,
        points=(*search.rough, *search.points),
        known=known,
        asked=asked,
        seconds=search.budget.spent,
        skipped=tuple(search.budget.skipped),
        settings={**given, **rounded},
    )


def crossing(points: Sequence[TrialResult], level: float) -> tuple[float, float]:
    """(weight, gain) of the best setting whose locality is at least the level.

    If the curve falls below the level between two weights, the point where it crosses counts too,
    interpolated linearly in log weight. Of all settings whose gain is within GAIN_TOLERANCE of the
    best, the one with the largest weight is taken, because it protects other facts most. If no
    setting reaches the level: (largest weight, -1).
    """
    curve = sorted(points, key=lambda p: -p.second_moment_weight)
    allowed = [(p.second_moment_weight, p.gain) for p in curve if p.locality >= level]
    for above, below in pairwise(curve):
        if above.locality >= level > below.locality:
            share = (above.locality - level) / (above.locality - below.locality)
            logs = log(above.second_moment_weight), log(below.second_moment_weight)
            weight = exp(logs[0] + share * (logs[1] - logs[0]))
            allowed.append((weight, above.gain + share * (below.gain - above.gain)))
    if not allowed:
        return curve[0].second_moment_weight, -1.0
    best_gain = max(gain for _, gain in allowed)
    return max((weight, gain) for weight, gain in allowed if gain >= best_gain - GAIN_TOLERANCE)
