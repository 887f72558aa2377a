"""Causal tracing and the search for settings; presets of published models."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from factd.editor import Edit, EditableModel, load_model
from factd.editor.errors import BadEdit
from factd.editor.methods import memit
from factd.editor.settings import settings_from
from factd.editor.tuning.budget import TimeBudget
from factd.editor.tuning.causal_tracing import Trace, trace
from factd.editor.tuning.known import known_facts
from factd.editor.tuning.presets import preset_for, presets
from factd.editor.tuning.search import (
    candidate_layers,
    crossing,
    next_exponent,
    tune,
)
from factd.editor.tuning.trials import Measured, Place, TrialResult
from factd.reference import paths
from support.shared_artefacts import SharedArtefacts
from support.world import COUNTRIES, WORDINGS, currencies


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(paths.MODEL)


def point(
    weight: float, gain: float, locality: float, layers: tuple[int, ...] = (0, 1)
) -> TrialResult:
    """A trial that took and kept so much in every way."""
    took = Measured(accuracy=gain, magnitude=2 * gain - 1)
    return TrialResult(
        place=Place(layers),
        v_lr=1.0,
        second_moment_weight=weight,
        edits=8,
        efficacy=took,
        paraphrase=took,
        neighbourhood=Measured(success=locality),
        kept=locality,
        retained=locality,
    )


def traced(best_mlp: int, best_stream: int, blocks: int) -> Trace:
    """Tracing with its largest effects at two blocks."""
    return Trace(
        stream=tuple(float(n == best_stream) for n in range(blocks)),
        mlp=tuple(float(n == best_mlp) for n in range(blocks)),
        last=(0.0,) * blocks,
        clean=0.9,
        corrupted=0.1,
        facts=1,
    )


def fact(subject: str, true: str, prompt: str = "The currency of {} is the") -> Edit:
    return Edit(prompt=prompt, subject=subject, target_new="?", target_true=true)


def test_a_curve_is_read_where_it_crosses_the_level() -> None:
    curve = [point(1000, 0.2, 1.0), point(100, 0.6, 0.98), point(10, 0.8, 0.94)]
    weight, gain = crossing(curve, 0.96)
    assert gain == pytest.approx(0.7)
    assert weight == pytest.approx(10**1.5)
    assert crossing(curve, 0.90) == (10, 0.8)
    flat = [point(1000, 0.2, 1.0), point(100, 0.79, 1.0), point(10, 0.8, 1.0)]
    assert crossing(flat, 0.96) == (
        100,
        0.79,
    )  # little is gained below: the larger weight protects more
    assert crossing([point(1000, 0.2, 0.5)], 0.9) == (1000, -1.0)


def test_windows_of_layers_lie_within_the_model_and_cover_what_tracing_and_authors_found() -> None:
    for blocks in (3, 4, 8, 18, 30, 32, 48):
        for centre in range(blocks):
            windows = candidate_layers(traced(centre, blocks - 1 - centre, blocks), blocks)
            assert 1 <= len(windows) <= 5
            for window in windows:
                assert window[0] >= 0 and window[-1] < blocks
                assert list(window) == list(range(window[0], window[-1] + 1))
            assert windows[-1][0] == 0 or any(w[0] == 0 for w in windows)
    small = candidate_layers(traced(1, 2, 8), 8)
    assert (0, 1, 2) in small
    deep = candidate_layers(traced(0, 9, 30), 30)
    assert {(3, 4, 5, 6, 7), (5, 6, 7, 8, 9), (0, 1, 2, 3, 4)} <= set(deep)
    assert len(candidate_layers(traced(6, 6, 32), 32)[0]) == 5


def test_a_climb_goes_to_the_weaker_side_first_and_ends_between_two_worse_places() -> None:
    takes_too_little = {0: point(100, 0.2, 0.9)}
    assert next_exponent(takes_too_little) == -1
    keeps_too_little = {0: point(100, 0.9, 0.4)}
    assert next_exponent(keeps_too_little) == 1
    between = {-1: point(10, 0.9, 0.2), 0: point(100, 0.7, 0.7), 1: point(1000, 0.2, 0.9)}
    assert next_exponent(between) is None
    assert next_exponent({0: point(100, 0.5, 0.6), 1: point(1000, 0.6, 0.7)}) == 2


def test_the_score_needs_both_that_edits_take_and_that_other_facts_stay() -> None:
    assert point(1, 0.7, 0.7).score == pytest.approx(0.7)
    assert point(1, 1.0, 0.1).score < 0.25
    assert point(1, 0.1, 1.0).score < 0.25
    assert point(1, 0.8, 0.7).score > point(1, 0.7, 0.7).score


def test_a_fact_gets_the_object_of_another_one_with_its_prompt() -> None:
    rows = [fact("A", "x"), fact("B", "y"), fact("A", "x", "Money in {}:"), fact("C", "z", "In {}")]
    found = {k.edit.subject: k for k in known_facts(rows)}
    assert set(found) == {"A", "B"}
    assert found["A"].edit.target_new == "y"
    assert found["A"].paraphrases == ("Money in {}:",)
    with pytest.raises(BadEdit, match="share a prompt"):
        known_facts([fact("A", "x")])


def known(model: EditableModel) -> list[Edit]:
    """What the reference model says of some countries, in two wordings."""
    rows = currencies(model, (*COUNTRIES, "Japan", "Brazil", "Poland", "Hungary"))
    return rows + [replace(e, prompt=WORDINGS[1]) for e in rows]


def test_tracing_finds_what_the_noise_took_and_restoring_everything_brings_it_back(
    model: EditableModel,
) -> None:
    facts = known(model)[:3]
    found = trace(model, facts, seed=1)
    blocks = len(model.blocks)
    assert len(found.stream) == len(found.mlp) == len(found.last) == blocks
    assert found.corrupted < found.clean - 0.05
    assert found.last[-1] == pytest.approx(found.clean - found.corrupted, abs=1e-4)
    assert max(found.mlp) > 0.05
    assert found == trace(model, facts, seed=1)
    with pytest.raises(BadEdit, match="could be traced"):
        trace(model, [replace(facts[0], target_true=None)])


GIVEN = {
    "v_num_grad_steps": 4,
    "second_moment_tokens": 8000,
    "terminator": ".",
    "templates": {"en": ("The report was long",)},
}


@dataclass
class FakeClock:
    """A clock that a test sets."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_work_is_expected_to_take_as_long_as_the_work_before_it() -> None:
    clock = FakeClock()
    budget = TimeBudget(100.0, clock)
    assert budget.allows("trial", "the first")  # nothing is known of it yet
    with budget.measured("trial"):
        clock.now += 40
    assert budget.allows("trial", "the second")
    assert not budget.allows("trial", "the third", reserve=30)
    with budget.measured("trial"):
        clock.now += 50
    assert not budget.allows("trial", "the fourth")
    assert budget.skipped == ["the third", "the fourth"]
    assert budget.left == 10


@dataclass
class Ticking:
    """Progress that lets time pass at each report, and remembers what was reported."""

    clock: FakeClock
    seconds: float = 0.0
    reports: list[tuple[str, int, int]] = field(default_factory=list)

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.clock.now += self.seconds
        self.reports.append((stage, done, total))


def test_a_search_reports_in_every_stage_and_ends_with_the_best_found_in_time(
    model: EditableModel, kept: SharedArtefacts, tmp_path: Path
) -> None:
    kept.moments(tmp_path, paths.MODEL, tokens=8000)
    clock = FakeClock()
    told = Ticking(clock, seconds=1.0)
    budget = TimeBudget(60.0, clock)
    facts = known_facts(known(model))
    found = tune(
        model,
        facts,
        workspace=tmp_path,
        given=GIVEN,
        budget=budget,
        edits=3,
        others=4,
        traced=2,
        progress=told,
    )
    stages = [stage for stage, _, _ in told.reports]
    assert stages[0] == "asking for known facts"
    wanted = {"causal tracing", "search", "units of the settings", "value steps", "values", "solve"}
    assert wanted <= set(stages)
    assert all(0 <= done <= total for _, done, total in told.reports)
    assert found.points
    assert found.skipped  # sixty reports are over soon
    assert all("layers" in text for text in found.skipped)
    best_score = max(p.score for p in found.points)
    assert found.level == next(p.locality for p in found.points if p.score == best_score)
    settings = settings_from(memit.Settings, found.settings)
    assert settings.layers == found.layers and settings.v_num_grad_steps == 4


def test_without_any_time_one_trial_is_made(
    model: EditableModel, kept: SharedArtefacts, tmp_path: Path
) -> None:
    kept.moments(tmp_path, paths.MODEL, tokens=8000)
    clock = FakeClock()
    budget = TimeBudget(1.0, clock)
    clock.now = 5.0
    facts = known_facts(known(model))
    found = tune(
        model, facts, workspace=tmp_path, given=GIVEN, budget=budget, edits=3, others=4, traced=1
    )
    (only,) = found.points
    assert found.second_moment_weight == pytest.approx(only.second_moment_weight, rel=0.01)


@pytest.mark.slow
def test_a_search_has_something_to_choose_from(
    model: EditableModel, kept: SharedArtefacts, tmp_path: Path
) -> None:
    kept.moments(tmp_path, paths.MODEL, tokens=8000)
    facts = known_facts(known(model))
    budget = TimeBudget(600.0, FakeClock())
    given = {**GIVEN, "v_num_grad_steps": 12}
    found = tune(
        model, facts, workspace=tmp_path, given=given, budget=budget, edits=4, others=6, traced=2
    )
    assert not found.skipped
    weights = {p.second_moment_weight for p in found.points if p.layers == found.layers}
    assert min(weights) * 0.99 <= found.second_moment_weight <= max(weights) * 1.01
    gains = [p.gain for p in found.points]
    assert max(gains) > min(gains) + 0.1


def test_a_model_that_knows_too_few_facts_is_not_tuned(
    model: EditableModel, tmp_path: Path
) -> None:
    facts = known_facts(known(model))
    strange = [replace(k, edit=replace(k.edit, target_true="zzz")) for k in facts]
    with pytest.raises(BadEdit, match="tuning needs at least 8"):
        tune(model, strange, workspace=tmp_path, given=GIVEN, budget=TimeBudget(9.0, FakeClock()))


def test_facts_of_all_relations_take_turns() -> None:
    first = [fact(f"A{n}", f"x{n % 2}") for n in range(6)]
    second = [fact(f"B{n}", f"y{n % 2}", "The capital of {} is") for n in range(3)]
    order = [k.edit.prompt for k in known_facts([*first, *second])]
    assert len(order) == 9
    assert [order[n] == order[n + 1] for n in (0, 2, 4)] == [False] * 3


def test_presets_are_settings_of_memit_and_fit_the_models_they_name() -> None:
    assert {p.name for p in presets()} >= {"gpt-j-6b", "gpt2-xl", "aguila-7b", "llama-3-8b"}
    for preset in presets():
        assert settings_from(memit.Settings, preset.memit).layers
        assert preset_for(dict(preset.match)) == preset
    assert preset_for({"model_type": "llama", "hidden_size": 64}) is None
