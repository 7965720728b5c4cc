from __future__ import annotations

import numpy as np
import pytest
import torch

from motion_embedding.spatial import polynomial_basis, smooth


def places(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    y = (torch.arange(height) + 0.5) / height * 2 - 1
    x = (torch.arange(width) + 0.5) / width * 2 - 1
    return torch.meshgrid(y, x, indexing="ij")


@pytest.mark.parametrize(("degree", "count"), [(0, 1), (1, 3), (2, 6)])
def test_columns_are_orthogonal_with_mean_square_one(degree: int, count: int) -> None:
    basis = polynomial_basis(5, 8, degree)
    assert basis.shape == (40, count)
    assert torch.allclose(basis.T @ basis / 40, torch.eye(count), atol=1e-6)


def test_columns_come_in_order_of_degree_x_before_y() -> None:
    y, x = places(3, 4)
    basis = polynomial_basis(3, 4, 1)
    for column, plain in zip(basis.T, (torch.ones(12), x.flatten(), y.flatten()), strict=True):
        assert torch.allclose(column, plain / plain.square().mean().sqrt(), atol=1e-6)


@pytest.mark.parametrize(("size", "count"), [((1, 1), 1), ((1, 6), 3), ((2, 6), 5), ((2, 2), 4)])
def test_a_grid_too_small_for_a_power_goes_without_it(size: tuple[int, int], count: int) -> None:
    basis = polynomial_basis(*size, 2)
    assert basis.shape[1] == count
    assert torch.isfinite(basis).all()
    assert torch.linalg.matrix_rank(basis) == count


def test_smooth_is_the_least_squares_fit_of_the_monomials() -> None:
    values = torch.randn(5, 7, 3, 2, generator=torch.Generator().manual_seed(0))
    y, x = (t.flatten().numpy() for t in places(5, 7))
    monomials = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], 1)
    fit = monomials @ np.linalg.lstsq(monomials, values.reshape(35, 6).numpy(), rcond=None)[0]
    assert np.allclose(smooth(values, 2).reshape(35, 6).numpy(), fit, atol=1e-5)


def test_smooth_keeps_what_is_smooth_and_degree_zero_is_the_mean() -> None:
    y, x = places(6, 4)
    zoom = (3 * x - 2 * y + 1)[..., None, None].expand(6, 4, 2, 3)
    assert torch.allclose(smooth(zoom, 1), zoom, atol=1e-6)
    noise = torch.randn(6, 4, 2, 3, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(smooth(noise, 0), noise.mean((0, 1)).expand_as(noise), atol=1e-6)
    assert torch.allclose(smooth(smooth(noise, 2), 2), smooth(noise, 2), atol=1e-6)
