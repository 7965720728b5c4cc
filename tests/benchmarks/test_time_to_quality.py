"""What the search counts and draws; the curves themselves are measured, not tested."""

from __future__ import annotations

import pytest
import torch

from benchmarks.plain_training import How
from benchmarks.time_to_quality import Curve, Point, reached
from motion_embedding.noise_levels import spread


def point(passes: int, track: float, leak: float = 0.0) -> Point:
    return Point(passes // 3, passes, track, track, 0.0, leak, 1.0, 1)


def test_a_quality_is_reached_where_it_stays_and_leaks_no_more() -> None:
    curve = [point(30, 0.97), point(60, 0.9), point(90, 0.98, leak=0.2), point(120, 0.99)]
    assert reached(curve, 0.95, 0.1) == 120
    assert reached(curve, 0.95, 0.2) == 90
    assert reached(curve, 0.5, 0.0) == 30
    assert reached(curve, 0.995, 1.0) is None


def test_every_noise_of_a_batch_is_three_passes() -> None:
    assert Curve("", How(batch=2), (40,)).passes(40) == 240


def test_a_falling_rate_needs_a_training_for_each_mark() -> None:
    assert [how.steps for how, _ in Curve("", How(schedule="cosine"), (5, 10)).runs()] == [5, 10]
    assert [marks for _, marks in Curve("", How(), (5, 10)).runs()] == [(5, 10)]


def test_rates_by_hand() -> None:
    linear, cosine = How(steps=4, schedule="linear", warm=1), How(steps=4, schedule="cosine")
    assert [linear.rate_at(step) for step in range(4)] == pytest.approx([0.5, 0.75, 0.5, 0.25])
    assert [cosine.rate_at(step) for step in (0, 2)] == pytest.approx([1.0, 0.5])
    assert How(steps=4).rate_at(3) == 1.0


def test_levels_are_those_of_the_shipped_training() -> None:
    for step in (0, 7):
        (percent,) = How(power=3.0).percents(step, 0.4, torch.Generator())
        assert percent == pytest.approx(spread(step, 0.4, 1e-3, 1 - 1e-3, 3.0))
    drawn = How(levels="uniform", low=0.2, high=0.4, batch=100).percents(0, 0.0, torch.Generator().manual_seed(0))
    assert 0.2 <= min(drawn) < 0.22 and 0.38 < max(drawn) <= 0.4
