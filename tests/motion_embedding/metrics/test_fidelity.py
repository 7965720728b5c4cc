"""Motion fidelity and trajectory correlation against values worked out by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from motion_embedding.metrics.fidelity import (
    chance_fidelity,
    motion_fidelity,
    track_correlations,
    trajectory_correlation,
)

RIGHT = np.stack([np.arange(5) * 3.0, np.zeros(5)], -1)
DOWN = RIGHT[:, ::-1]
STATIC = np.zeros((5, 2))


def tracks(*paths: np.ndarray) -> np.ndarray:
    """Each path as a track with its own start, which no score may depend on."""
    return np.stack([path + 10 * i for i, path in enumerate(paths)])


def random_walks(seed: int, count: int, frames: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, frames, 2)).cumsum(1)


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


def test_a_clip_of_many_motions_is_one_against_itself():
    # Taking an identity matrix from the correlations, as circulating code does across two videos, gives 0.36 here.
    walks = random_walks(0, 100, 24)
    assert motion_fidelity(walks, walks) == pytest.approx(1)
    correlations = track_correlations(walks, walks) - np.eye(100)
    assert (correlations.max(0).mean() + correlations.max(1).mean()) / 2 < 0.5


def test_one_static_track_does_not_spoil_the_rest():
    with np.errstate(all="raise"):
        score = motion_fidelity(tracks(RIGHT, STATIC, DOWN), tracks(DOWN, RIGHT, STATIC))
    assert score == pytest.approx(1)


def test_where_one_side_has_fewer_the_best_is_of_as_many_by_hand():
    # Of the 3 pairs of the second side 2 hold the static track, and all hold one that goes right.
    e = 0.1 / np.hypot(3, 0.1)
    matched = (1 + (2 + e) / 3) / 2
    assert motion_fidelity(tracks(RIGHT, STATIC), tracks(RIGHT, STATIC, RIGHT)) == pytest.approx((1 + matched) / 2)


def test_the_best_of_as_many_is_the_mean_over_all_choices():
    few, many = random_walks(3, 2, 6), random_walks(4, 5, 6)
    correlations = track_correlations(few, many)
    choices = [correlations[:, list(pair)].max(1).mean() for pair in combinations(range(5), 2)]
    expected = (np.mean(choices) + correlations.max(0).mean()) / 2
    assert motion_fidelity(few, many) == pytest.approx(expected)


def test_chance_does_not_rise_with_the_number_of_tracks():
    a, b = random_walks(1, 2000, 8), random_walks(2, 2000, 8)
    few = motion_fidelity(a[:64], b[:64])
    assert motion_fidelity(a, b) == pytest.approx(few, abs=0.05)
    assert motion_fidelity(a, b, tracks=2000) > few + 0.1


def test_chance_does_not_fall_when_only_one_side_has_few():
    a, b = random_walks(1, 64, 8), random_walks(2, 64, 8)
    even = np.mean([motion_fidelity(a[i : i + 8], b[i : i + 8]) for i in range(0, 64, 8)])
    uneven = np.mean([motion_fidelity(a, b[i : i + 8]) for i in range(0, 64, 8)])
    assert uneven == pytest.approx(even, abs=0.05)
    assert motion_fidelity(a, b) > even + 0.15


def test_no_track_scores_zero():
    none = np.zeros((0, 5, 2))
    for first, second in ((none, tracks(RIGHT)), (tracks(RIGHT), none), (none, none)):
        assert motion_fidelity(first, second) == 0
        assert chance_fidelity(first, second) == 0
    assert motion_fidelity(tracks(RIGHT)[:, :1], tracks(RIGHT)) == 0


def test_only_steps_known_to_both_count():
    first, second = tracks(np.concatenate([RIGHT[:3], RIGHT[2] + DOWN[1:3]])), tracks(RIGHT)
    assert track_correlations(first, second)[0, 0] == pytest.approx((2 + 2 * 0.01 / 9.01) / 4)
    first[0, 3:] = np.nan
    assert track_correlations(first, second)[0, 0] == pytest.approx(1)
    second[0, 0] = np.nan  # one step in common of four
    assert track_correlations(first, second)[0, 0] == 0


def test_a_track_with_gaps_matches_itself_and_a_short_one_is_left_out():
    gaps = np.stack([np.linspace(0, 12, 7), np.zeros(7)], -1)[None].copy()
    gaps[0, 4:] = np.nan  # three steps of six
    assert motion_fidelity(gaps, gaps) == pytest.approx(1)
    gaps[0, 3] = np.nan
    assert motion_fidelity(gaps, gaps) == 0


def test_unit_and_epsilon_go_together():
    a, b = random_walks(5, 20, 8), random_walks(6, 20, 8)
    assert motion_fidelity(a, b) == pytest.approx(motion_fidelity(5 * a, 5 * b, epsilon=0.5))


def test_chance_of_one_translation_is_zero_even_where_the_score_is_one():
    pan = tracks(*[RIGHT * 100] * 12)
    assert motion_fidelity(pan, pan) == pytest.approx(1)
    assert chance_fidelity(pan, pan) == pytest.approx(0, abs=1e-5)


def test_chance_of_two_still_clips_is_one():
    assert chance_fidelity(tracks(STATIC, STATIC), tracks(STATIC)) == pytest.approx(1)


def test_chance_with_a_resting_background_by_hand():
    # Three of four points rest and match; the fourth moves, and its turned twin agrees with it by cos(angle), with
    # a resting point by e. Where the cosine is below e, that is in half of the surrogates, e is the best.
    clip = tracks(STATIC, STATIC, STATIC, RIGHT)
    e = 0.1 / np.hypot(3, 0.1)
    cosines = (9 * np.cos((np.arange(8) + 0.5) * np.pi / 4) + 0.01) / 9.01
    assert chance_fidelity(clip, clip) == pytest.approx((3 + np.maximum(cosines, e).mean()) / 4)


def test_chance_knows_that_a_zoom_cannot_be_told_from_a_roll():
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)[:, None] + np.zeros(6)
    radius = 100 * 1.1 ** np.arange(6)
    zoom = radius[None, :, None] * np.stack([np.cos(angles), np.sin(angles)], -1)
    assert chance_fidelity(zoom, zoom) > 0.99


def test_chance_keeps_the_best_of_many():
    a, b = random_walks(7, 64, 12), random_walks(8, 64, 12)
    chance = chance_fidelity(a, b)
    assert chance == pytest.approx(motion_fidelity(a, b), abs=0.05)
    assert chance > 0.3
    assert chance_fidelity(a, b, tracks=8) < chance - 0.1


def test_chance_turns_time_around_in_half_of_the_surrogates():
    # Two steps of rest, two of motion. Turned, the rest still agrees; reversed, rest meets motion in every step.
    late = np.array([[0, 0], [0, 0], [0, 0], [3, 0], [6, 0]], float)[None]
    turned, backwards = (2 + 2 * 0.01 / 9.01) / 4, 0.1 / np.hypot(3, 0.1)
    assert chance_fidelity(late, late) == pytest.approx((turned + backwards) / 2)


def test_chance_against_unrelated_clips_is_their_mean():
    reference, result = tracks(RIGHT, RIGHT), tracks(RIGHT, DOWN)
    others = [tracks(DOWN, DOWN), tracks(RIGHT[::-1], DOWN)]
    expected = np.mean([motion_fidelity(other, result) for other in others])
    assert chance_fidelity(reference, result, others) == pytest.approx(expected)


def test_clips_without_tracks_do_not_lower_chance():
    result, other, none = tracks(RIGHT, DOWN), tracks(DOWN, DOWN), np.zeros((0, 5, 2))
    assert chance_fidelity(result, result, [none, other]) == chance_fidelity(result, result, [other]) > 0.5
    assert chance_fidelity(result, result, [none]) == chance_fidelity(result, result)


def test_chance_is_for_as_many_tracks_as_the_score():
    few, many, other = random_walks(9, 4, 8), random_walks(10, 64, 8), random_walks(11, 64, 8)
    assert chance_fidelity(few, many, [other]) < motion_fidelity(other, many) - 0.2


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
