"""Where the training looks: even cover of the range, or more of its noisy end."""

from __future__ import annotations

import pytest

from motion_embedding.noise_levels import spread


def test_by_hand() -> None:
    assert spread(0, 0.1, 0.0, 1.0) == pytest.approx(0.1 + 0.5 * 0.6180339887)
    assert spread(1, 0.1, 0.2, 0.6) == pytest.approx(0.2 + 0.4 * (0.1 + 1.5 * 0.6180339887 - 1))
    assert spread(0, 0.1, 0.2, 0.6, focus=2.0) == pytest.approx(0.2 + 0.4 * (0.1 + 0.5 * 0.6180339887) ** 2)


@pytest.mark.parametrize("focus", [1.0, 2.0, 3.0])
def test_every_tenth_of_the_places_is_visited_as_often_as_focus_says(focus: float) -> None:
    percents = [spread(step, 0.37, 0.0, 1.0, focus) for step in range(1000)]
    for p in (0.1, 0.3, 0.5, 0.9):
        assert sum(x < p for x in percents) / 1000 == pytest.approx(p ** (1 / focus), abs=0.01)
    assert 0 < min(percents) < max(percents) < 1
