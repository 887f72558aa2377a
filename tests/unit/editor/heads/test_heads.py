"""Head corrections: probes find planted heads, training raises targets, artefacts are switched."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from factd.editor import EditableModel, EditBatch, applied, load_model
from factd.editor.deltas.delta import Delta
from factd.editor.errors import BadEdit, BadSettings, DamagedArtefact, WrongModel
from factd.editor.heads.biases import added_to_heads
from factd.editor.heads.corrections import (
    HeadCorrections,
    corrections_folder,
    list_corrections,
    load_corrections,
    state_of,
    switch,
    switched_on,
    with_heads,
    without_heads,
)
from factd.editor.heads.ranking import (
    HeadFeatures,
    center_of_mass,
    choose_heads,
    edits_answered_right,
    fit_probes,
)
from factd.editor.heads.training import HeadSettings, first_order_gains, train_vectors
from factd.editor.methods import memat
from factd.editor.scoring.score import forced_scores
from factd.editor.settings import settings_from
from factd.editor.values.problem import ValueSettings
from factd.reference import paths
from support.shared_artefacts import SharedArtefacts
from support.world import currencies

TABLE = {
    "layers": [0, 1, 2],
    "second_moment_weight": 300.0,
    "v_lr": 60.0,
    "v_num_grad_steps": 11,
    "v_weight_decay": 0.01,
    "clamp_norm_factor": 1.0,
    "second_moment_tokens": 8000,
    "templates": {"en": ["The report was long"]},
    "head_languages": ["en"],
    "head_count": 4,
    "head_lr": 0.03,
}


def with_moments(kept: SharedArtefacts, folder: Path) -> Path:
    return kept.moments(folder, paths.MODEL, tokens=8000)


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(paths.MODEL)


@pytest.fixture(scope="module")
def batch(model: EditableModel) -> EditBatch:
    return EditBatch.of(currencies(model))


@pytest.fixture(scope="module")
def workspace(kept: SharedArtefacts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_moments(kept, tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def both(model: EditableModel, batch: EditBatch, workspace: Path) -> Delta:
    settings = settings_from(memat.Settings, TABLE)
    return memat.edit(model, batch, settings=settings, workspace=workspace)


def planted(*, facts: int = 40) -> HeadFeatures:
    """Random features in which only head (1, 2) tells new from old."""
    generator = torch.Generator().manual_seed(0)
    new, old = torch.randn(2, facts, 3, 4, 6, generator=generator).unbind(0)
    new[:, 1, 2] += 2.0
    return HeadFeatures(new=new, old=old, train=torch.arange(facts) < facts * 0.7)


def test_probes_find_the_head_that_tells_new_from_old() -> None:
    features = planted()
    relevance = fit_probes(features)
    assert choose_heads(relevance, HeadSettings(count=1)) == ((1, 2),)
    assert relevance[1, 2] > 0.95
    assert (
        float(relevance.sum() - relevance[1, 2]) / 11 < 0.65
    )  # the control: the others are near chance
    direction = center_of_mass(features, [(1, 2)])[0]
    assert torch.nn.functional.cosine_similarity(direction, torch.ones(6), dim=0) > 0.9


def test_random_heads_are_drawn_with_the_seed_and_a_count_of_0_chooses_none() -> None:
    relevance = torch.rand(3, 4)
    draw = [
        choose_heads(relevance, HeadSettings(count=5, choice="random", seed=s)) for s in (1, 1, 2)
    ]
    assert draw[0] == draw[1] != draw[2]
    assert len(set(draw[0])) == 5
    assert choose_heads(relevance, HeadSettings(count=0)) == ()
    with pytest.raises(BadSettings, match="has 12 heads"):
        choose_heads(relevance, HeadSettings(count=13))


def test_corrections_raise_the_targets_further_than_memit_alone(
    model: EditableModel, batch: EditBatch, both: Delta
) -> None:
    biases = {name for name in both.parts if name.endswith(".bias")}
    assert biases
    assert not any(name.endswith(".bias") for name in dict(model.model.named_parameters()))
    plain = replace(both, parts={k: v for k, v in both.parts.items() if k not in biases})
    asked = [(e.prompt.format(e.subject), e.target_new) for e in batch.edits]
    scores = []
    for delta in (plain, both):
        with applied(model, delta):
            scores.append(sum(nll for nll, _ in forced_scores(model, asked)))
    assert scores[1] < scores[0]
    assert not any(name.endswith(".bias") for name in dict(model.model.named_parameters()))


def test_other_facts_are_kept_better_if_their_prompts_are_given(
    model: EditableModel, batch: EditBatch
) -> None:
    values = ValueSettings(z_layer=1, templates={"en": ("The report was long",)})
    settings = HeadSettings(lr=0.3, epochs=4, still_factor=100.0)
    heads, norms = ((1, 0), (2, 1)), torch.full((2,), 20.0)
    free = train_vectors(model, batch.edits, heads, norms, settings, values)
    prompts = [e.prompt.format(e.subject) for e in batch.edits]
    held = train_vectors(model, batch.edits, heads, norms, settings, values, prompts)
    asked = [(e.prompt.format(e.subject), str(e.target_true)) for e in batch.edits]
    lost = []
    for vectors in (torch.zeros(2, 32), free, held):
        with added_to_heads(model, heads, vectors):
            lost.append(sum(nll for nll, _ in forced_scores(model, asked)))
    assert lost[0] < lost[2] < lost[1]
    assert free.norm(dim=-1).max() <= 0.75 * 20 + 1e-4  # clamped


def test_the_released_form_differs_in_what_it_trains(
    model: EditableModel, batch: EditBatch
) -> None:
    values = ValueSettings(z_layer=1, templates={"en": ("The report was long",)})
    heads, norms = ((1, 0), (1, 1)), torch.tensor([1.0, 3.0])
    correct, released = (
        train_vectors(
            model, batch.edits, heads, norms, HeadSettings(form=form, lr=1.0, epochs=3), values
        )
        for form in ("correct", "as-released")
    )
    assert not torch.allclose(correct, released, atol=1e-3)
    assert released[1].norm() <= 0.75 + 1e-5  # clamped by the norm of the first head
    assert correct[1].norm() > 0.75


def test_corrections_are_an_artefact_that_is_reused_switched_and_withdrawn(
    model: EditableModel, batch: EditBatch, both: Delta, workspace: Path
) -> None:
    ((found, state),) = list_corrections(workspace, model.fingerprint)
    assert (found.language, state, len(found.heads)) == ("en", "on", 4)
    assert both.settings["head_corrections"] == [found.id]
    folder = corrections_folder(workspace, model.fingerprint, "en")
    assert load_corrections(folder).id == found.id
    settings = settings_from(memat.Settings, TABLE)
    fewer = EditBatch.of(batch.edits[:-2])  # a later batch uses what an earlier one trained
    again = memat.edit(model, fewer, settings=settings, workspace=workspace)
    assert again.settings["head_corrections"] == [found.id]
    switch(workspace, model.fingerprint, "en", "off")
    assert switched_on(workspace, model.fingerprint) == ()
    off = memat.edit(model, fewer, settings=settings, workspace=workspace)
    assert "head_corrections" not in off.settings
    switch(workspace, model.fingerprint, "en", "on")
    assert [c.id for c in switched_on(workspace, model.fingerprint)] == [found.id]
    switch(workspace, model.fingerprint, "en", "withdrawn")
    assert state_of(folder) == "withdrawn"
    with pytest.raises(BadSettings, match="state is withdrawn"):
        switch(workspace, model.fingerprint, "en", "on")
    with pytest.raises(BadSettings, match="state is none"):
        switch(workspace, model.fingerprint, "fr", "on")


def test_corrections_of_another_base_or_damaged_ones_are_refused(
    model: EditableModel, both: Delta, workspace: Path, tmp_path: Path
) -> None:
    folder = corrections_folder(workspace, model.fingerprint, "en")
    found = load_corrections(folder)
    with pytest.raises(WrongModel, match="train them again"):
        with_heads(model, both, [replace(found, base_fingerprint="0" * 64)])
    path = folder / "heads.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DamagedArtefact, match=r"heads\.safetensors"):
        load_corrections(folder)
    path.write_bytes(data)


def test_two_languages_are_summed_and_leaving_one_out_gives_the_other_alone(
    model: EditableModel, both: Delta, workspace: Path
) -> None:
    found = load_corrections(corrections_folder(workspace, model.fingerprint, "en"))
    empty = Delta(parts={}, base_fingerprint=model.fingerprint, batch_id="", method="memit")
    other = replace(found, language="es", vectors=found.vectors * 2)
    one, two = (with_heads(model, empty, c) for c in ([found], [found, other]))
    for name, part in one.parts.items():
        assert torch.allclose(two.parts[name].matrix(), 3 * part.matrix(), atol=1e-5)
    assert with_heads(model, empty, []) is empty
    assert without_heads(two).id == empty.id
    assert without_heads(both).parts.keys() == {model.parameter(n) for n in (0, 1, 2)}
    assert isinstance(found, HeadCorrections)


def test_without_heads_it_is_memit_and_too_few_right_edits_are_refused(
    model: EditableModel, batch: EditBatch, kept: SharedArtefacts, tmp_path: Path
) -> None:
    with_moments(kept, tmp_path)
    none = settings_from(memat.Settings, TABLE | {"heads": "none"})
    delta = memat.edit(model, batch, settings=none, workspace=tmp_path)
    assert not any(name.endswith(".bias") for name in delta.parts)
    with pytest.raises(BadEdit, match="need 4 subjects"):
        edits_answered_right(model, batch.edits)  # the unedited model gets none right


def test_heads_can_be_chosen_by_how_much_a_constant_lowers_the_loss(
    model: EditableModel, batch: EditBatch
) -> None:
    values = ValueSettings(z_layer=1, templates={"en": ("The report was long",)})
    settings = HeadSettings(count=2, choice="gradient", lr=0.3, epochs=3, still_factor=0.0)
    norms = torch.ones(len(model.blocks), model.heads)
    gains = first_order_gains(model, batch.edits, norms, settings, values)
    assert gains.shape == (8, 8)
    order = gains.flatten().argsort(descending=True)
    best, worst = (
        [(int(i) // 8, int(i) % 8) for i in chosen] for chosen in (order[:2], order[-2:])
    )
    asked = [(e.prompt.format(e.subject), e.target_new) for e in batch.edits]
    reached = []
    for heads in (best, worst):
        vectors = train_vectors(model, batch.edits, heads, torch.full((2,), 20.0), settings, values)
        with added_to_heads(model, heads, vectors):
            reached.append(sum(nll for nll, _ in forced_scores(model, asked)))
    assert reached[0] < reached[1]
    assert torch.equal(
        first_order_gains(model, batch.edits, 2 * norms, settings, values), 2 * gains
    )


def test_the_center_of_mass_form_and_chosen_heads_go_through_the_method(
    model: EditableModel, batch: EditBatch, kept: SharedArtefacts, tmp_path: Path
) -> None:
    with_moments(kept, tmp_path)
    for heads in ("center-of-mass", "gradient", "random"):
        settings = settings_from(memat.Settings, TABLE | {"heads": heads, "head_count": 2})
        delta = memat.edit(model, batch, settings=settings, workspace=tmp_path)
        ((found, _),) = list_corrections(tmp_path, model.fingerprint)
        assert delta.settings["head_corrections"] == [
            found.id
        ]  # other settings: new ones are trained
        assert len(found.heads) == 2
        assert (found.gains.max() > 0) == (heads == "gradient")
