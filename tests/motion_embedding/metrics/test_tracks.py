"""The tracker on pictures whose motion is known exactly, and the path helpers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from motion_embedding.metrics.tracks import fill_gaps, resample_paths, track_points

STEP = np.array([1.5, -0.75])


def moving_texture(side: int, frames: int = 6) -> np.ndarray:
    """Blurred noise seen through a window that slides so that the content moves by STEP a frame."""
    rng = np.random.default_rng(3)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (side + 60, side + 60, 3)).astype(np.float32), (0, 0), 2.5)
    noise = np.clip((noise - 127) * 4 + 127, 0, 255)
    views = [np.float32([[1, 0, 30 - f * STEP[0]], [0, 1, 30 - f * STEP[1]]]) for f in range(frames)]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.stack([cv2.warpAffine(noise, v, (side, side), flags=flags).clip(0, 255) for v in views]).astype(np.uint8)


@pytest.mark.parametrize("side", [64, 300])
def test_translation_is_found_to_a_tenth_of_a_pixel(side):
    tracks = track_points(moving_texture(side), points=32)
    assert 16 <= len(tracks) <= 32
    steps = np.diff(tracks, axis=1)
    np.testing.assert_allclose(np.median(steps, (0, 1)), STEP, atol=0.05)
    assert np.abs(steps - STEP).max(-1).mean() < 0.1


def test_positions_are_in_the_pixels_of_the_given_frames():
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    frames[:, 20:31, 40:51] = 255
    start = track_points(frames, points=4)[:, 0]
    corners = {(39.5, 19.5), (50.5, 19.5), (39.5, 30.5), (50.5, 30.5)}
    for corner in corners:
        assert np.linalg.norm(start - corner, axis=1).min() < 1


def test_nothing_to_follow():
    assert track_points(np.full((4, 64, 64, 3), 90, np.uint8)).shape == (0, 4, 2)


def test_a_scene_cut_is_not_followed():
    rng = np.random.default_rng(0)
    cut = [cv2.GaussianBlur(rng.integers(0, 256, (128, 128, 3)).astype(np.uint8), (0, 0), 2) for _ in range(4)]
    assert len(track_points(np.stack(cut), points=64)) < 8


def test_resample_keeps_the_ends_and_interpolates():
    path = np.array([[0, 0], [2, 4], [4, 0]], float)
    expected = [[0, 0], [1, 2], [2, 4], [3, 2], [4, 0]]
    np.testing.assert_allclose(resample_paths(path, 5), expected)
    np.testing.assert_allclose(resample_paths(np.array(expected, float)[None], 3)[0], path)
    np.testing.assert_allclose(resample_paths(path[:1], 4), np.zeros((4, 2)))


def test_fill_gaps():
    path = np.array([[np.nan, np.nan], [1, 5], [np.nan, np.nan], [3, 9]])
    np.testing.assert_allclose(fill_gaps(path), [[1, 5], [1, 5], [2, 7], [3, 9]])
    with pytest.raises(ValueError, match="no known frame"):
        fill_gaps(np.full((3, 2), np.nan))
