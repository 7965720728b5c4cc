"""Motion fidelity and trajectory correlation against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from motion_embedding.metrics.fidelity import motion_fidelity, track_correlations, trajectory_correlation

RIGHT = np.stack([np.arange(5) * 3.0, np.zeros(5)], -1)
DOWN = RIGHT[:, ::-1]
STATIC = np.zeros((5, 2))


def tracks(*paths: np.ndarray) -> np.ndarray:
    """Each path as a track with its own start, which no score may depend on."""
    return np.stack([path + 10 * i for i, path in enumerate(paths)])


def test_same_direction_is_one_whatever_the_speed():
    assert track_correlations(tracks(RIGHT), tracks(RIGHT * 1.7)) == pytest.approx(1, abs=1e-3)


def test_epsilon_formula_by_hand():
    still_against_moving = 0.1 * 0.1 / (0.1 * np.hypot(3, 0.1))
    reversed_ = (-9 + 0.01) / (9 + 0.01)
    found = track_correlations(tracks(STATIC, RIGHT), tracks(RIGHT[::-1]))[:, 0]
    np.testing.assert_allclose(found, [still_against_moving, reversed_])


def test_right_angle_is_zero():
    assert track_correlations(tracks(RIGHT), tracks(DOWN)) == pytest.approx(0, abs=2e-3)


def test_rotation_scores_the_cosine_of_its_phase():
    angle = np.linspace(0, np.pi, 9)
    circle = 10 * np.stack([np.cos(angle), np.sin(angle)], -1)
    turned = 10 * np.stack([np.cos(angle + 1.0), np.sin(angle + 1.0)], -1)
    assert track_correlations(circle[None], turned[None]) == pytest.approx(np.cos(1.0), abs=1e-3)


def test_rotating_clip_against_itself_and_against_the_opposite_spin():
    angle = np.linspace(0, np.pi / 2, 9)[None] + np.linspace(0, 2 * np.pi, 6, endpoint=False)[:, None]
    spin = 10 * np.stack([np.cos(angle), np.sin(angle)], -1)
    assert motion_fidelity(spin, spin) == pytest.approx(1)
    assert motion_fidelity(spin, spin[:, ::-1]) < 0.8


@pytest.mark.parametrize("paths", [(RIGHT, DOWN, STATIC), (STATIC,), (RIGHT,)])
def test_a_clip_against_itself_is_one(paths):
    assert motion_fidelity(tracks(*paths), tracks(*paths)) == pytest.approx(1)


def test_static_result_of_a_moving_reference_is_near_zero():
    assert motion_fidelity(tracks(RIGHT, DOWN), tracks(STATIC, STATIC)) == pytest.approx(0.1 / np.hypot(3, 0.1))


def test_reversed_is_minus_one():
    assert motion_fidelity(tracks(RIGHT), tracks(RIGHT[::-1])) == pytest.approx(-1, abs=3e-3)


def test_unrelated_random_walks_stay_far_from_one():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 64, 24, 2)).cumsum(2)
    assert abs(motion_fidelity(a, b)) < 0.5


def test_both_ways_by_hand():
    # Every result track is matched, but only half of the reference's.
    expected = ((1 + 1) / 2 + (1 + 0.01 / 9.01) / 2) / 2
    assert motion_fidelity(tracks(RIGHT, DOWN), tracks(RIGHT, RIGHT)) == pytest.approx(expected)
    assert motion_fidelity(tracks(RIGHT, RIGHT), tracks(RIGHT, DOWN)) == pytest.approx(expected)


def test_one_static_track_does_not_spoil_the_rest():
    score = motion_fidelity(tracks(RIGHT, STATIC), tracks(RIGHT, STATIC, RIGHT))
    assert score == pytest.approx(1)


def test_track_count_is_fixed_so_chance_does_not_rise_with_it():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 2000, 8, 2)).cumsum(2)
    many, few = motion_fidelity(a, b), motion_fidelity(a[:64], b[:64])
    assert many == pytest.approx(few, abs=0.05)
    assert motion_fidelity(a, b, tracks=2000) > many + 0.1


def test_few_zero_and_broken_tracks():
    none = np.zeros((0, 5, 2))
    assert motion_fidelity(none, tracks(RIGHT)) == 0
    assert motion_fidelity(tracks(RIGHT), none) == 0
    broken = tracks(RIGHT, DOWN)
    broken[1, 2] = np.nan
    assert motion_fidelity(broken, tracks(RIGHT)) == pytest.approx(1)


def test_lengths_may_differ():
    longer = np.stack([np.linspace(0, 12, 9), np.zeros(9)], -1)
    assert motion_fidelity(tracks(RIGHT), longer[None]) == pytest.approx(1, abs=1e-3)


def test_trajectory_translation_scale_and_reversal():
    path = np.array([[0, 0], [4, 1], [8, 4], [12, 9]], float)
    assert trajectory_correlation(path, path + 30) == pytest.approx(1)
    assert trajectory_correlation(path, path * 0.5) == pytest.approx(1)
    assert trajectory_correlation(path, -path) == pytest.approx(-1)
    assert trajectory_correlation(path, path * [1, 0]) == pytest.approx(80 / np.sqrt(80 * (80 + 49)))


def test_trajectory_at_right_angles_and_static():
    assert trajectory_correlation(RIGHT, DOWN) == pytest.approx(0)
    assert trajectory_correlation(RIGHT, STATIC) == 0
    assert trajectory_correlation(STATIC, STATIC) == 0


def test_trajectory_jitter_is_damped_by_the_floor():
    jitter = RIGHT * 0.05
    rms = 0.15 * np.sqrt(2)
    assert trajectory_correlation(RIGHT, jitter) == pytest.approx(rms / 0.7)


def test_trajectory_gaps_and_lengths():
    gap = RIGHT.copy()
    gap[[1, 4]] = np.nan
    assert trajectory_correlation(RIGHT, gap) > 0.95
    gap[2:4] = np.nan
    assert trajectory_correlation(RIGHT, gap) == 0
    longer = np.stack([np.linspace(0, 12, 11), np.zeros(11)], -1)
    assert trajectory_correlation(RIGHT, longer) == pytest.approx(1)
