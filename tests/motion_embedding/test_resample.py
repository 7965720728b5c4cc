from __future__ import annotations

import pytest
import torch

from motion_embedding.resample import resample_frames, resample_grid


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
