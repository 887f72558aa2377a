"""Causal tracing and the search for settings; presets of published models."""

from dataclasses import replace
from pathlib import Path

import pytest

from factd.editor import Edit, EditableModel, load_model
from factd.editor.errors import BadEdit
from factd.editor.methods import memit
from factd.editor.settings import settings_from
from factd.editor.tuning.causal_tracing import trace
from factd.editor.tuning.presets import preset_for, presets
from factd.editor.tuning.search import candidate_layers, crossing, known_facts, tune
from factd.editor.tuning.trials import TrialResult
from factd.reference import paths
from support.shared_artefacts import SharedArtefacts
from support.world import COUNTRIES, WORDINGS, currencies


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(paths.MODEL)


def point(weight: float, gain: float, neighbourhood: float) -> TrialResult:
    return TrialResult(
        layers=(0, 1),
        v_lr=1.0,
        second_moment_weight=weight,
        efficacy=gain,
        paraphrase=gain,
        neighbourhood=neighbourhood,
        neighbourhood_magnitude=0.0,
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


def test_windows_of_layers_lie_around_the_traced_block_and_within_the_model() -> None:
    assert candidate_layers(4, 8)[0] == (3, 4, 5)
    for blocks in (3, 4, 8, 32, 48):
        for centre in range(blocks):
            for window in candidate_layers(centre, blocks):
                assert window[0] >= 0 and window[-1] < blocks
                assert list(window) == list(range(window[0], window[-1] + 1))
    assert (0, 1, 2) in candidate_layers(4, 8)
    assert len(candidate_layers(6, 32)[0]) == 5


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


@pytest.mark.slow
def test_tuning_writes_settings_that_memit_takes(
    model: EditableModel, kept: SharedArtefacts, tmp_path: Path
) -> None:
    kept.moments(tmp_path, paths.MODEL, tokens=8000)  # of the lowest of the layers that are tried
    facts = known_facts(known(model))
    given = {
        "v_num_grad_steps": 4,
        "second_moment_tokens": 8000,
        "terminator": ".",
        "templates": {"en": ("The report was long",)},
    }
    found = tune(model, facts, workspace=tmp_path, given=given, edits=3, neighbours=6, traced=2)
    settings = settings_from(memit.Settings, found.settings)
    assert settings.layers == found.layers
    assert settings.v_num_grad_steps == 4
    weights = {p.second_moment_weight for p in found.points if p.layers == found.layers}
    assert min(weights) <= found.second_moment_weight * 1.01
    assert found.second_moment_weight <= max(weights) * 1.01
    gains = [p.gain for p in found.points]
    assert max(gains) > min(gains) + 0.1  # the search has something to choose from
    strange = [replace(k, edit=replace(k.edit, target_true="zzz")) for k in facts]
    with pytest.raises(BadEdit, match="tuning needs at least 8"):
        tune(model, strange, workspace=tmp_path, given=given)


def test_presets_are_settings_of_memit_and_fit_the_models_they_name() -> None:
    assert {p.name for p in presets()} >= {"gpt-j-6b", "gpt2-xl", "aguila-7b", "llama-3-8b"}
    for preset in presets():
        assert settings_from(memit.Settings, preset.memit).layers
        assert preset_for(dict(preset.match)) == preset
    assert preset_for({"model_type": "llama", "hidden_size": 64}) is None
