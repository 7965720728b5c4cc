"""Complexity of paths worked out by hand, and of clips made of points."""

from __future__ import annotations

import numpy as np
import pytest

from motion_embedding.metrics.complexity import clip_complexity, split, trajectory_complexity

SIZE = (300, 400)  # a diagonal of 500
MIDDLE = np.array([150.0, 200.0])
LINE = np.stack([np.arange(13) * 3.0, np.arange(13) * -4.0], -1)


def polygon(corners: int, radius: float = 20, frames: int = 13) -> np.ndarray:
    angle = 2 * np.pi * np.arange(frames) / corners
    return radius * np.stack([np.cos(angle), np.sin(angle)], -1)


def zigzag(turns_every: int) -> np.ndarray:
    """Steps of 5 to the right, alternately up and down by 5."""
    down = np.where(np.arange(12) // turns_every % 2, -5.0, 5.0)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(np.stack([np.full(12, 5.0), down], -1), 0)])


def test_straight_and_constant_is_zero():
    assert trajectory_complexity(LINE) == pytest.approx(0)
    assert trajectory_complexity(np.repeat(LINE[:1], 13, 0)) == 0
    assert trajectory_complexity(LINE[:2]) == 0
    assert trajectory_complexity(LINE[:1]) == 0


def test_a_circle_by_hand():
    # Twelve steps, each turned by 30 degrees against the last: eleven chords of 2 sin 15.
    assert trajectory_complexity(polygon(12)) == pytest.approx(11 * 2 * np.sin(np.radians(15)))


def test_a_zigzag_by_hand_and_more_turns_are_more():
    assert trajectory_complexity(zigzag(1)) == pytest.approx(11 * np.sqrt(2))
    assert trajectory_complexity(zigzag(4)) == pytest.approx(2 * np.sqrt(2))
    assert trajectory_complexity(LINE) < trajectory_complexity(polygon(12)) < trajectory_complexity(zigzag(1))


def test_reversals_and_changes_of_speed_by_hand():
    there_and_back = np.concatenate([LINE[:7], LINE[:6][::-1]])
    assert trajectory_complexity(there_and_back) == pytest.approx(2)
    start = np.concatenate([np.zeros((6, 2)), LINE[:7]])  # half of the time at rest: the mean speed is half
    assert trajectory_complexity(start) == pytest.approx(2)


def test_depth_is_one_more_direction():
    approach = np.column_stack([LINE, np.arange(13) * 2.0])
    assert trajectory_complexity(approach) == pytest.approx(0)
    approach[7:, 2] = approach[6, 2]
    assert trajectory_complexity(approach) > 0.1


def test_size_place_and_frame_count_do_not_matter():
    assert trajectory_complexity(3 * polygon(12) + 50) == pytest.approx(trajectory_complexity(polygon(12)))
    fine = polygon(96, frames=97)
    assert trajectory_complexity(fine) == pytest.approx(trajectory_complexity(polygon(12)))
    doubled = LINE.repeat(2, 0)[:-1].copy()
    doubled[1::2] = (LINE[:-1] + LINE[1:]) / 2
    assert trajectory_complexity(doubled) == pytest.approx(0, abs=1e-12)


def test_tremor_at_rest_is_damped_in_proportion():
    jitter = zigzag(1) / 1000
    length = 12 * np.hypot(0.005, 0.005)
    assert trajectory_complexity(jitter) == pytest.approx(11 * np.sqrt(2) * length / 6)


def test_gaps_are_interpolated():
    path = LINE.copy()
    path[[3, 7]] = np.nan
    assert trajectory_complexity(path) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="no known frame"):
        trajectory_complexity(np.full((5, 2), np.nan))


def background(pan: np.ndarray) -> np.ndarray:
    """Points all over the frame that follow a path ``[F, 2]`` in pixels."""
    x, y = np.meshgrid(np.linspace(20, 280, 5), np.linspace(20, 380, 6))
    return np.stack([x.ravel(), y.ravel()], -1)[:, None] + (pan - pan[0])


def object_on(path: np.ndarray) -> np.ndarray:
    return path + np.array([[[0, 0]], [[9, 0]], [[0, 9]], [[9, 9]], [[5, 5]]], float)


def test_a_clip_is_its_object_plus_its_camera():
    still, circle = background(np.zeros((13, 2))), polygon(12, 100) + MIDDLE
    of_circle = trajectory_complexity(polygon(12))
    assert clip_complexity(still, SIZE) == pytest.approx(0, abs=1e-3)
    assert clip_complexity(background(LINE), SIZE) == pytest.approx(0, abs=1e-3)
    assert clip_complexity(np.concatenate([still, object_on(circle)]), SIZE) == pytest.approx(of_circle, abs=0.01)
    assert clip_complexity(background(polygon(12, 100)), SIZE) == pytest.approx(of_circle, abs=0.01)
    both = np.concatenate([background(polygon(12, 100)), object_on(circle + LINE + polygon(12, 100))])
    assert clip_complexity(both, SIZE) == pytest.approx(2 * of_circle, abs=0.02)


def test_an_object_that_the_camera_follows_is_seen_to_move():
    circle = polygon(12, 100)
    followed = np.concatenate([background(-circle), object_on(np.full((13, 2), 150.0))])
    assert clip_complexity(followed, SIZE) == pytest.approx(2 * trajectory_complexity(circle), abs=0.02)


def test_a_mask_path_takes_the_place_of_tracks():
    still, circle = background(np.zeros((13, 2))), polygon(12, 100) + MIDDLE
    circle[4] = np.nan
    assert clip_complexity(still, SIZE, circle) == pytest.approx(trajectory_complexity(circle), abs=0.5)
    assert clip_complexity(still[:0], SIZE, LINE) == pytest.approx(0, abs=1e-9)


def test_an_object_before_nothing_is_judged_without_a_camera():
    circle = polygon(12, 100) + MIDDLE
    assert clip_complexity(object_on(circle), SIZE) == pytest.approx(trajectory_complexity(polygon(12)))


def test_nothing_to_go_by_is_none():
    assert clip_complexity(np.zeros((0, 5, 2)), SIZE) is None
    assert clip_complexity(np.zeros((0, 5, 2)), SIZE, np.full((5, 2), np.nan)) is None


def test_split_into_terciles():
    values = {"f": 6.0, "a": 1.0, "e": 5.0, "b": 2.0, "d": 4.0, "c": 3.0}
    assert split(values) == {"a": "easy", "b": "easy", "c": "medium", "d": "medium", "e": "hard", "f": "hard"}
    assert list(split(values)) == list(values)


def test_split_keeps_equals_together_and_takes_any_number():
    assert split({"a": 0.0, "b": 0.0, "c": 0.0, "d": 9.0}) == {"a": "easy", "b": "easy", "c": "easy", "d": "hard"}
    assert split({"a": 2.0}) == {"a": "easy"}
    assert split({}) == {}
