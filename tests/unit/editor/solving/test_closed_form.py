"""The closed form has the properties that define it."""

import pytest
import torch

from factd.editor.closed_form import leverage, solve_update
from factd.editor.errors import SingularSystem


def problem(n: int = 4, weight: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    keys, residuals = (
        torch.randn(8, n, generator=generator).double(),
        torch.randn(5, n, generator=generator).double(),
    )
    old = torch.randn(8, 100, generator=generator).double()
    return keys, residuals, weight * old @ old.T / 100


def test_the_update_is_where_the_gradient_of_the_ridge_loss_is_zero() -> None:
    keys, residuals, second = problem()
    update = solve_update(keys, residuals, second)
    gradient = (update @ keys - residuals) @ keys.T + update @ second
    assert gradient.norm() < 1e-10
    assert (update * 1.01 @ keys - residuals).norm() > 0  # the check above is not met by any update
    assert ((update * 1.01 @ keys - residuals) @ keys.T + update * 1.01 @ second).norm() > 1e-3


def test_without_old_keys_the_residuals_are_met() -> None:
    keys, residuals, second = problem(weight=1e-9)
    assert torch.allclose(solve_update(keys, residuals, second) @ keys, residuals, atol=1e-5)


def test_equal_keys_share_one_solution_instead_of_being_added_twice() -> None:
    keys, residuals, second = problem(1, weight=1e-9)
    twice = solve_update(keys.repeat(1, 2), residuals.repeat(1, 2), second)
    assert torch.allclose(twice @ keys, residuals, atol=1e-5)


def test_leverage_says_how_much_of_a_key_is_used_up() -> None:
    keys, _, second = problem(weight=1e-9)
    assert torch.allclose(leverage(keys, second), torch.ones(4).double(), atol=1e-5)
    assert (leverage(keys, second * 1e12) < 0.1).all()


def test_nan_and_a_singular_system_are_refused() -> None:
    keys, residuals, second = problem()
    with pytest.raises(SingularSystem):
        solve_update(keys, residuals * float("nan"), second)
    with pytest.raises(SingularSystem):
        solve_update(keys * 0, residuals, second * 0)
