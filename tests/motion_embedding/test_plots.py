from __future__ import annotations

import numpy as np

from motion_embedding.noise_levels import spread
from motion_embedding.plots import loss_curve, smooth


def test_smooth_by_hand() -> None:
    assert smooth([1, 2, 6, 3], 3).tolist() == [1.5, 3.0, 11 / 3, 4.5]


def test_curve_falls_where_the_loss_falls() -> None:
    picture = loss_curve(np.linspace(1, 0, 100).tolist(), 100)
    assert picture.shape == (360, 640, 3)
    ink = (picture[..., 0] > 180) & (picture[..., 2] < 110)
    heights = [np.flatnonzero(ink[:, x]).mean() for x in (120, 360, 600)]
    assert heights[0] < heights[1] < heights[2]


def test_curve_survives_one_step_equal_losses_and_nan() -> None:
    for losses in ([], [0.5], [0.5, 0.5], [0.5, float("nan"), 0.1]):
        assert loss_curve(losses, 10).any()


def test_noise_levels_cover_the_range_evenly() -> None:
    for offset in (0.0, 0.37):
        levels = sorted(spread(i, offset, 0.2, 0.8) for i in range(50))
        assert levels[0] > 0.2 and levels[-1] < 0.8
        assert max(np.diff(levels)) < 3 * 0.6 / 50
