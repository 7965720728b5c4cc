"""Camera paths of points whose motion is worked out by hand."""

from __future__ import annotations

from dataclasses import astuple

import cv2
import numpy as np
import pytest

from motion_embedding.metrics.camera import camera_errors, camera_path
from motion_embedding.metrics.tracks import track_points

SIZE = (301, 401)  # a diagonal of 501.3
DIAGONAL = np.hypot(*SIZE)
MIDDLE = np.array([150.0, 200.0])
FRAMES = 9


def grid(columns: int = 6, rows: int = 8) -> np.ndarray:
    """Points all over the frame, ``[N, 2]``."""
    x, y = np.meshgrid(np.linspace(20, 280, columns), np.linspace(20, 380, rows))
    return np.stack([x.ravel(), y.ravel()], -1)


def filmed(
    points: np.ndarray, pan=(0.0, 0.0), zoom: float = 1.0, roll: float = 0.0, frames: int = FRAMES
) -> np.ndarray:
    """Tracks of points that each frame are scaled and turned about the middle and then shifted in pixels."""
    angle = np.radians(roll)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    path = [points]
    for _ in range(frames - 1):
        path.append((path[-1] - MIDDLE) @ turn.T + MIDDLE + pan)
    return np.stack(path, 1)


@pytest.mark.parametrize("pan", [(0, 0), (4, -2)])
@pytest.mark.parametrize("zoom", [1, 1.02, 0.97])
@pytest.mark.parametrize("roll", [0, 3, -1])
def test_similarity_is_found_by_hand(pan, zoom, roll):
    camera = camera_path(filmed(grid(), pan, zoom, roll), SIZE)
    np.testing.assert_allclose(camera.pan, np.tile(np.array(pan) * 100 / DIAGONAL, (FRAMES - 1, 1)), atol=1e-5)
    np.testing.assert_allclose(camera.zoom, np.log(zoom), atol=1e-7)
    np.testing.assert_allclose(camera.roll, roll, atol=1e-5)
    assert camera.agreed.tolist() == [48] * (FRAMES - 1)


def test_a_roll_of_the_picture_is_clockwise_on_the_screen():
    right_of_the_middle = filmed(grid(), roll=3)[:, :2] - MIDDLE
    point = right_of_the_middle[np.argmax(right_of_the_middle[:, 0, 0])]
    assert point[1, 1] > point[0, 1]  # y points down
    assert camera_path(filmed(grid(), roll=3), SIZE).roll.min() > 0


def test_moved_is_what_the_camera_does():
    tracks = filmed(grid(), (4, -2), 1.02, 3)
    camera = camera_path(tracks, SIZE)
    np.testing.assert_allclose(camera.moved(tracks[:, :-1], SIZE), tracks[:, 1:], atol=1e-4)


def test_an_object_before_a_moving_background_does_not_sway_it():
    background = filmed(grid(), (3, 0), 1.01)
    object_ = filmed(grid(5, 6) * 0.2 + 90, (-5, 6))
    camera = camera_path(np.concatenate([object_, background]), SIZE)
    np.testing.assert_allclose(camera.pan, np.tile([300 / DIAGONAL, 0], (FRAMES - 1, 1)), atol=0.01)
    np.testing.assert_allclose(camera.zoom, np.log(1.01), atol=1e-4)
    assert camera.agreed.min() >= 48


def test_the_background_is_what_is_consistent_over_the_clip():
    # For two steps most of the background is hidden, and the object, which is large, has the majority.
    background, object_ = filmed(grid(), (3, 0)), filmed(grid(4, 5) * 0.6 + 60, (-5, 6))
    background[8:, 4:6] = np.nan
    camera = camera_path(np.concatenate([object_, background]), SIZE)
    assert camera.agreed[4] == 8
    np.testing.assert_allclose(camera.pan, np.tile([300 / DIAGONAL, 0], (FRAMES - 1, 1)), atol=1e-5)


def test_noise_of_the_tracker_is_averaged():
    tracks = filmed(grid(), (3, 0), 1.02, 1)
    tracks += np.random.default_rng(0).normal(scale=0.2, size=tracks.shape)
    camera = camera_path(tracks, SIZE)
    assert np.abs(camera.pan - [300 / DIAGONAL, 0]).max() < 0.05
    assert np.abs(camera.zoom - np.log(1.02)).max() < 0.002
    assert np.abs(camera.roll - 1).max() < 0.1


def test_the_same_tracks_give_the_same_camera():
    tracks = filmed(grid(), (3, 0)) + np.random.default_rng(0).normal(scale=0.5, size=(48, FRAMES, 2))
    np.testing.assert_array_equal(camera_path(tracks, SIZE).pan, camera_path(tracks.copy(), SIZE).pan)


def test_unknown_steps_are_interpolated():
    tracks = filmed(grid(), (3, 0))
    tracks[:, 4] = np.nan
    camera = camera_path(tracks, SIZE)
    assert camera.agreed.tolist() == [48, 48, 48, 0, 0, 48, 48, 48]
    np.testing.assert_allclose(camera.pan[:, 0], 300 / DIAGONAL, atol=1e-5)


def test_what_cannot_be_told_is_none():
    assert camera_path(np.zeros((0, 5, 2)), SIZE) is None
    assert camera_path(filmed(grid()[::10]), SIZE) is None  # five points
    assert camera_path(filmed(grid() * 0.2 + 100, (3, 0)), SIZE) is None  # a small object alone
    assert camera_path(filmed(grid(), frames=1), SIZE) is None
    random = np.random.default_rng(0).uniform(0, 300, (40, FRAMES, 2))
    assert camera_path(random, SIZE) is None
    half_blind = filmed(grid())
    half_blind[:, 3:] = np.nan
    assert camera_path(half_blind, SIZE) is None


def test_errors_by_hand():
    reference = camera_path(filmed(grid(), (3, 4), 1.02, 3), SIZE)
    result = camera_path(filmed(grid(), (0, 0), 1 / 1.01, 1), SIZE)
    errors = camera_errors(reference, result)
    assert errors.pan == pytest.approx(500 / DIAGONAL, abs=1e-5)
    assert errors.zoom == pytest.approx(100 * (np.log(1.02) + np.log(1.01)), abs=1e-5)
    assert errors.roll == pytest.approx(2, abs=1e-5)
    assert astuple(camera_errors(reference, reference)) == pytest.approx((0, 0, 0), abs=1e-12)


def test_errors_are_means_over_steps_not_of_sums():
    there, back = filmed(grid(), (4, 0), frames=5), filmed(grid(), (-4, 0), frames=5)
    forth_and_back = np.concatenate([there, there[:, -1:] + back[:, 1:] - back[:, :1]], 1)
    still = camera_path(filmed(grid()), SIZE)
    assert camera_errors(camera_path(forth_and_back, SIZE), still).pan == pytest.approx(400 / DIAGONAL, abs=1e-5)


def test_clips_of_other_lengths_and_sizes_compare():
    reference = camera_path(filmed(grid(), (4, -2), 1.02, 1, frames=9), SIZE)
    half = camera_path(2 * filmed(grid(), (4, -2), 1.02, 1, frames=9)[:, ::2] + 0.5, (602, 802))
    errors = camera_errors(reference, half)
    assert errors.pan < 0.03  # the order of pan and zoom within the longer step
    assert errors.zoom == pytest.approx(0, abs=1e-5)
    assert errors.roll == pytest.approx(0, abs=1e-5)
    assert camera_errors(half, reference).roll == pytest.approx(0, abs=1e-5)


def test_a_filmed_picture_from_frames_to_camera():
    picture = np.random.default_rng(0).integers(0, 256, (500, 500)).astype(np.float32)
    picture = np.clip((cv2.GaussianBlur(picture, (0, 0), 3) - 127) * 5 + 127, 0, 255)
    views = [cv2.getRotationMatrix2D((249.5, 249.5), -1.0 * f, 1.02**f) for f in range(6)]
    frames = [cv2.warpAffine(picture, view, (500, 500), flags=cv2.INTER_CUBIC)[130:370, 100:400] for view in views]
    clip = np.stack(frames).clip(0, 255).astype(np.uint8)[..., None].repeat(3, -1)
    camera = camera_path(track_points(clip), (300, 240))
    assert np.abs(camera.pan).max() < 0.05
    np.testing.assert_allclose(camera.zoom, np.log(1.02), atol=1e-3)
    np.testing.assert_allclose(camera.roll, 1, atol=0.05)
