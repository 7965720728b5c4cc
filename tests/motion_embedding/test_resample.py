from __future__ import annotations

import pytest
import torch

from motion_embedding.resample import resample_frames, resample_grid, rescale_factor


def half_pixel(length: int, target: int, i: int) -> tuple[int, int, float]:
    """Neighbours and weight of sample ``i``: centres at ``(i + 0.5) * length / target - 0.5``, ends held."""
    position = min(max((i + 0.5) * length / target - 0.5, 0), length - 1)
    low = int(position)
    return low, min(low + 1, length - 1), position - low


@pytest.mark.parametrize("target", [3, 6, 8, 12, 36])
def test_frames_are_linear_with_half_pixel_centres(target: int) -> None:
    rows = torch.randn(2, 8, 3, dtype=torch.float64)
    out = resample_frames(rows, target)
    for i in range(target):
        low, high, weight = half_pixel(8, target, i)
        expected = (1 - weight) * rows[:, low] + weight * rows[:, high]
        assert torch.allclose(out[:, i], expected, atol=1e-12)


def test_doubling_two_frames_by_hand() -> None:
    out = resample_frames(torch.tensor([[0.0], [4.0]]), 4)
    assert out.flatten().tolist() == [0.0, 1.0, 3.0, 4.0]


def test_grid_is_bilinear_per_frame_and_channel() -> None:
    values = torch.randn(4, 6, 2, 3, dtype=torch.float64)
    out = resample_grid(values, 7, 5)
    for y in range(7):
        top, bottom, v = half_pixel(4, 7, y)
        for x in range(5):
            left, right, u = half_pixel(6, 5, x)
            upper = (1 - u) * values[top, left] + u * values[top, right]
            lower = (1 - u) * values[bottom, left] + u * values[bottom, right]
            assert torch.allclose(out[y, x], (1 - v) * upper + v * lower, atol=1e-12)


def test_same_size_is_the_same_tensor() -> None:
    values = torch.randn(4, 6, 2, 3)
    assert resample_grid(values, 4, 6) is values
    assert resample_frames(values, 2) is values


@pytest.mark.parametrize(
    ("frames", "total", "pace"),
    [(6, 7 / (20 / 3), 0.75), (8, 1.0, 1.0), (12, 1.0, 1.5), (36, 1.0, 4.5), (1, 1.0, 1.0), (2, 7 / 4, 0.25)],
)
def test_factors_for_eight_trained_rows_by_hand(frames: int, total: float, pace: float) -> None:
    assert rescale_factor(8, frames, "off") == 1.0
    assert rescale_factor(8, frames, "total") == pytest.approx(total)
    assert rescale_factor(8, frames, "pace") == pytest.approx(pace)


def test_one_trained_row_has_no_differences_to_rescale() -> None:
    assert rescale_factor(1, 8, "total") == rescale_factor(1, 8, "pace") == 1.0


def test_unknown_rescale_is_refused() -> None:
    with pytest.raises(ValueError, match="double"):
        rescale_factor(8, 6, "double")
