"""How far values lie, and which edits reach a text: the edit's own prompt first."""

from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from factd.editor import Edit, EditableModel, EditBatch, load_model
from factd.editor.errors import DamagedArtefact
from factd.editor.exams.influence import influences, value_shifts
from factd.editor.files.folders import write_folder
from factd.editor.methods.memit import Settings
from factd.editor.values.cache import folder_of, values_for
from support.paths import GOLDEN

SETTINGS = Settings(
    layers=(0, 1, 2),
    second_moment_weight=30.0,
    v_lr=0.3,
    v_num_grad_steps=5,
    second_moment_tokens=2000,
    templates={"en": ("The report was long",)},
)
PROMPT = "{} was first made in"
SUBJECTS = ("Zoeshost", "Kagle Clahal", "Braqui Seldor", "Gargle Wilhal")


@pytest.fixture(scope="module")
def model() -> EditableModel:
    return load_model(GOLDEN / "llama" / "model")


@pytest.fixture(scope="module")
def batch() -> EditBatch:
    return EditBatch.of(
        Edit(prompt=PROMPT, subject=s, target_new="Chile", group=s) for s in SUBJECTS
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def test_no_value_reaches_further_than_the_settings_allow(
    model: EditableModel, batch: EditBatch, work: Path
) -> None:
    found = value_shifts(model, batch, SETTINGS, work)
    assert {r.group for r in found} == set(SUBJECTS)
    assert all(0 < r.ratio <= 1.001 for r in found)


@pytest.mark.parametrize("subject", SUBJECTS)
def test_an_edit_moves_its_own_prompt_most(
    subject: str, model: EditableModel, batch: EditBatch, work: Path
) -> None:
    found = influences(model, batch, SETTINGS, work, [PROMPT.format(subject)])
    assert max(found, key=lambda name: found[name]) == subject


def test_nothing_is_moved_by_no_edits_and_no_texts_are_moved(
    model: EditableModel, batch: EditBatch, work: Path
) -> None:
    assert influences(model, EditBatch(()), SETTINGS, work, ["x"]) == {}
    assert influences(model, batch, SETTINGS, work, []) == {}
    assert value_shifts(model, EditBatch(()), SETTINGS, work) == ()


def save_values(values: torch.Tensor, folder: Path) -> None:
    save_file({"z": values}, folder / "values.safetensors")


def test_a_longer_value_is_seen_and_one_that_is_no_number_names_its_fact(
    model: EditableModel, batch: EditBatch, tmp_path: Path
) -> None:
    values = SETTINGS.values(SETTINGS.templates)
    z = values_for(model, batch, values, tmp_path)
    group = next(g for g in batch.groups() if g[0].group == "Zoeshost")
    row = batch.edits.index(group[0])
    folder = folder_of(model, group, values, tmp_path)
    for factor in (10.0, float("nan")):
        damaged = z[row : row + 1].clone() * factor
        write_folder(folder, partial(save_values, damaged), {})
        if factor == 10.0:
            found = {r.group: r.ratio for r in value_shifts(model, batch, SETTINGS, tmp_path)}
            assert found["Zoeshost"] > 5 > 1.001 > found["Kagle Clahal"]
    with pytest.raises(DamagedArtefact) as caught:
        values_for(model, batch, values, tmp_path)
    assert caught.value.group == "Zoeshost"
