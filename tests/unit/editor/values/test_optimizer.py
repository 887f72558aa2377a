"""Values of many facts at once: the same bits in any company, however computation is saved."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from factd.editor import Edit, EditableModel, load_model
from factd.editor.errors import SingularSystem
from factd.editor.models.model import minimum_rows
from factd.editor.values.optimizer import ComputeOptions
from factd.editor.values.problem import ValueSettings
from factd.editor.values.values import values_of_groups
from support.paths import GOLDEN

CASE = json.loads((GOLDEN / "llama" / "case.json").read_text())
EDITS = [Edit(**request) for request in CASE["requests"]]
SETTINGS = ValueSettings(
    z_layer=2,
    v_lr=0.3,
    v_num_grad_steps=6,
    v_weight_decay=0.1,
    templates={"en": ("The report was long", "You may have heard")},
)


@pytest.fixture(params=["llama", "gpt2"])
def model(request: pytest.FixtureRequest) -> EditableModel:
    return load_model(GOLDEN / request.param / "model")


def computed(
    model: EditableModel,
    edits: list[Edit] = EDITS,
    settings: ValueSettings = SETTINGS,
    **options: Any,
) -> torch.Tensor:
    groups = [[edit] for edit in edits]
    values = dict(values_of_groups(model, groups, settings, ComputeOptions(**options)))
    return torch.cat([values[n] for n in range(len(groups))])


@pytest.mark.parametrize("tokens", [1, 40, 200])
def test_the_bits_do_not_depend_on_how_many_values_are_computed_at_once(
    model: EditableModel, tokens: int
) -> None:
    assert torch.equal(computed(model, tokens=tokens), computed(model))


def test_checking_for_convergence_less_often_changes_nothing(model: EditableModel) -> None:
    settings = replace(SETTINGS, v_num_grad_steps=30, loss_threshold=1.0)
    assert torch.equal(
        computed(model, settings=settings, check_steps=4), computed(model, settings=settings)
    )


def test_the_bits_do_not_depend_on_the_order_or_the_other_edits(model: EditableModel) -> None:
    everyone = computed(model)
    assert torch.equal(computed(model, EDITS[::-1]).flip(0), everyone)
    assert torch.equal(computed(model, EDITS[3:5]), everyone[3:5])


@pytest.mark.parametrize(
    "off",
    [{"suffix_only": False}, {"suffix_only": False, "lower_once": False}, {"answers_only": False}],
)
def test_saving_computation_changes_nothing_but_rounding(
    model: EditableModel, off: dict[str, Any]
) -> None:
    saved, plain = computed(model), computed(model, **off)
    assert ((saved - plain).norm(dim=1) / plain.norm(dim=1)).max() < 1e-4
    assert not torch.equal(
        saved, computed(model, settings=replace(SETTINGS, v_lr=0.2))
    )  # the control


def test_the_last_block_may_be_the_z_layer(model: EditableModel) -> None:
    settings = replace(SETTINGS, z_layer=len(model.blocks) - 1)
    saved, plain = (computed(model, settings=settings, suffix_only=on) for on in (True, False))
    assert torch.allclose(saved, plain, atol=1e-4)
    assert not torch.equal(saved, computed(model))


def test_a_value_that_has_converged_is_not_moved_by_those_that_have_not(
    model: EditableModel,
) -> None:
    longer = replace(SETTINGS, v_num_grad_steps=40, loss_threshold=1.0)
    easy = computed(model, settings=longer)
    twice = computed(model, EDITS + [replace(e, target_new=e.subject) for e in EDITS], longer)
    assert torch.equal(twice[: len(EDITS)], easy)


def test_a_matrix_product_gives_a_row_the_same_bits_whatever_the_number_of_rows(
    model: EditableModel,
) -> None:
    weight, rows = model.weight(0).detach(), torch.randn(300, model.weight(0).shape[1])
    least = minimum_rows(model.device)
    whole = rows @ weight.T
    for count in (least, least + 1, least + 7, 2 * least, 150):
        assert torch.equal(rows[:count] @ weight.T, whole[:count])


@pytest.fixture
def cramped(model: EditableModel) -> Iterator[EditableModel]:
    """A model whose last block has no memory for more than 8 rows at once."""

    def refuse(_: Any, args: tuple[torch.Tensor, ...]) -> None:
        if args[0].shape[0] > 8:
            raise torch.OutOfMemoryError("the test's device is full")

    handle = model.blocks[len(model.blocks) - 1].register_forward_pre_hook(refuse)
    yield model
    handle.remove()


def test_a_batch_size_that_does_not_fit_is_halved_and_remembered(cramped: EditableModel) -> None:
    narrow = computed(cramped)
    assert 0 < cramped.batch_sizes["values"] < 1152
    remembered = dict(cramped.batch_sizes)
    assert torch.equal(computed(cramped), narrow)
    assert cramped.batch_sizes == remembered


def test_if_not_even_one_problem_fits_the_error_is_that_of_the_device(model: EditableModel) -> None:
    def refuse(_: Any, __: Any) -> None:
        raise torch.OutOfMemoryError("the test's device is full")

    handle = model.blocks[0].register_forward_pre_hook(refuse)
    with pytest.raises(torch.OutOfMemoryError):
        computed(model)
    handle.remove()


def test_a_value_that_is_not_finite_is_an_error(model: EditableModel) -> None:
    model.weight(3).data[:] = float("nan")
    with pytest.raises(SingularSystem, match="check that the weights are finite"):
        computed(model)


def test_bfloat16_gives_nearly_the_same_direction(model: EditableModel) -> None:
    half = load_model(model.path, dtype="bfloat16")
    exact, rough = computed(model), computed(half)
    cosine = torch.cosine_similarity(exact, rough, dim=1)
    assert rough.dtype == torch.float32
    assert cosine.min() > 0.9
    assert not torch.equal(exact, rough)
