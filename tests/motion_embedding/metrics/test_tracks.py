"""The tracker on pictures whose motion is known exactly, and the path helpers."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from motion_embedding.metrics.tracks import (
    fill_gaps,
    known_steps,
    lasting,
    relative,
    resample_paths,
    spread,
    track_points,
)

STEP = np.array([1.5, -0.75])


def texture(height: int, width: int, seed: int = 3) -> np.ndarray:
    """Blurred noise, float ``[H, W, 3]``."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    return np.clip((cv2.GaussianBlur(noise, (0, 0), 2.5) - 127) * 4 + 127, 0, 255)


def moving_texture(side: int, frames: int = 6, step: np.ndarray = STEP) -> np.ndarray:
    """Texture seen through a window that slides so that the content moves by ``step`` a frame."""
    room = int(np.abs(step * frames).max()) + 10
    picture = texture(side + 2 * room, side + 2 * room)
    views = [np.float32([[1, 0, room - f * step[0]], [0, 1, room - f * step[1]]]) for f in range(frames)]
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.stack([cv2.warpAffine(picture, v, (side, side), flags=flags).clip(0, 255) for v in views]).astype(
        np.uint8
    )


@pytest.mark.parametrize("side", [64, 300])
def test_translation_is_found_to_a_tenth_of_a_pixel(side):
    tracks = track_points(moving_texture(side), points=32)
    assert 16 <= len(tracks) <= 32
    steps = np.diff(tracks, axis=1)
    np.testing.assert_allclose(np.nanmedian(steps, (0, 1)), STEP, atol=0.05)
    assert np.nanmean(np.abs(steps - STEP).max(-1)) < 0.1


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
    cut = np.stack([texture(128, 128, seed) for seed in range(6)]).astype(np.uint8)
    assert len(track_points(cut)) < 8


def test_both_scenes_of_a_cut_are_followed_each_for_itself():
    clip = np.concatenate([moving_texture(256, 5), moving_texture(256, 5, -STEP)[:, ::-1]])
    known = known_steps(track_points(clip[:-1]))  # four steps, the cut, three steps
    assert known[:, :4].all(1).sum() > 16
    assert known[:, 4].mean() < 0.15  # a random place may pass the check there and back


def test_a_pan_that_leaves_nothing_of_the_first_frame_is_followed():
    step = np.array([-24.0, 0.0])
    tracks = track_points(moving_texture(256, 17, step))
    steps = np.diff(tracks, axis=1)
    assert len(tracks) > 8
    assert not np.isfinite(tracks).all((1, 2)).any()
    np.testing.assert_allclose(np.nanmedian(steps, (0, 1)), step, atol=0.1)
    inside = tracks[np.isfinite(tracks)]
    assert inside.min() >= 0
    assert inside.max() <= 255


def test_an_occlusion_loses_points_only_while_and_after_it_hides_them():
    clip = moving_texture(256, 12, np.zeros(2))
    clip[8:10, :, 160:] = 0
    tracks = track_points(clip, points=48)
    left = np.nanmean(tracks, axis=1)[:, 0] < 100
    assert left.sum() > 8
    assert np.isfinite(tracks[left]).mean() > 0.9  # some near the edge are lost with the coarse levels
    hidden = tracks[np.nanmean(tracks, axis=1)[:, 0] > 170]
    assert len(hidden) > 8
    assert np.isfinite(hidden[:, :8]).all()
    assert not np.isfinite(hidden[:, 8:]).any()


def test_what_enters_late_is_followed():
    clip = np.full((12, 256, 256, 3), 90, np.uint8)
    patch = texture(60, 60).astype(np.uint8)
    for frame in range(5, 12):
        clip[frame, 100:160, 8 + 10 * frame : 68 + 10 * frame] = patch
    tracks = track_points(clip)
    assert len(tracks) > 4
    assert np.isnan(tracks[:, :5]).all()
    np.testing.assert_allclose(np.nanmedian(np.diff(tracks, axis=1), (0, 1)), [10, 0], atol=0.1)


def test_a_point_is_followed_once():
    tracks = track_points(moving_texture(256, 9, np.zeros(2)), points=1000)
    places = tracks[:, 4]
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1) + 1e6 * np.eye(len(places))
    assert len(tracks) > 100
    assert distance.min() > 6


def test_the_first_few_tracks_are_spread_over_the_frame_and_always_the_same():
    clip = moving_texture(256)
    tracks = track_points(clip)
    np.testing.assert_array_equal(tracks, track_points(clip.copy()))
    places = np.nanmean(tracks[:16], axis=1)
    quarters = {(x > 128, y > 128) for x, y in places}
    assert len(quarters) == 4
    assert np.linalg.norm(places[:, None] - places[None], axis=-1)[~np.eye(16, dtype=bool)].min() > 30


def test_weak_corners_count_beside_strong_ones():
    picture = texture(256, 256)
    picture[:, 128:] = 127 + (picture[:, 128:] - 127) / 4
    places = np.nanmean(track_points(np.stack([picture] * 4).astype(np.uint8), points=32), axis=1)
    assert 8 <= (places[:, 0] > 128).sum() <= 24


@pytest.mark.parametrize("gain", [0.8, 1.25])
def test_flicker_is_not_motion(gain):
    steady = (moving_texture(256) * 0.7 + 20).astype(np.uint8)
    flickering = steady.copy()
    flickering[1::2] = (steady[1::2] * gain).clip(0, 255).astype(np.uint8)
    found = np.diff(track_points(flickering), axis=1)
    assert len(found) > 48
    assert np.nanmean(np.abs(found - STEP).max(-1)) < 0.1


@pytest.mark.parametrize("shape", [(1, 64, 64, 3), (2, 64, 64, 3), (3, 40, 90, 3)])
def test_short_and_odd_clips(shape):
    clip = np.stack([texture(*shape[1:3])] * shape[0]).astype(np.uint8)
    tracks = track_points(clip)
    assert tracks.shape[1:] == (shape[0], 2)
    assert bool(len(tracks)) == (shape[0] > 1)
    np.testing.assert_allclose(np.diff(tracks, axis=1), 0, atol=1e-3)


def test_large_frames_keep_their_pixels():
    tracks = track_points(moving_texture(1000, 3, 4 * STEP))
    np.testing.assert_allclose(np.nanmedian(np.diff(tracks, axis=1), (0, 1)), 4 * STEP, atol=0.1)


def test_known_steps_and_lasting():
    tracks = np.zeros((4, 5, 2))
    tracks[1, 3:] = np.nan  # two steps of four
    tracks[2, 2] = np.nan  # two steps, apart
    tracks[3, [0, 3], 1] = np.nan  # one step
    np.testing.assert_array_equal(known_steps(tracks).sum(1), [4, 2, 2, 1])
    np.testing.assert_array_equal(lasting(tracks), [True, True, True, False])


def test_spread_by_hand():
    places = np.array([0, 1, 10, 4, 10], float)
    tracks = np.zeros((5, 3, 2))
    tracks[..., 0] = places[:, None]
    tracks[2, 0] = np.nan
    assert spread(tracks, 4)[:, 1, 0].tolist() == [0, 10, 4, 1]
    assert len(spread(tracks, 9)) == 5
    assert spread(tracks[:0], 3).shape == (0, 3, 2)


def test_relative_is_percent_of_the_diagonal():
    np.testing.assert_allclose(relative(np.array([[[3.0, 4.0]]]), (30, 40)), [[[6, 8]]])


def test_resample_keeps_the_ends_and_interpolates():
    path = np.array([[0, 0], [2, 4], [4, 0]], float)
    expected = [[0, 0], [1, 2], [2, 4], [3, 2], [4, 0]]
    np.testing.assert_allclose(resample_paths(path, 5), expected)
    np.testing.assert_allclose(resample_paths(np.array(expected, float)[None], 3)[0], path)
    np.testing.assert_allclose(resample_paths(path[:1], 4), np.zeros((4, 2)))


def test_resample_keeps_gaps_where_they_are():
    path = np.array([[0, 0], [np.nan, np.nan], [4, 0], [6, 0]])
    found = resample_paths(path, 7)[:, 0]
    np.testing.assert_array_equal(found, [0, np.nan, np.nan, np.nan, 4, 5, 6])
    np.testing.assert_array_equal(resample_paths(path, 2)[:, 0], [0, 6])


def test_fill_gaps():
    path = np.array([[np.nan, np.nan], [1, 5], [np.nan, np.nan], [3, 9]])
    np.testing.assert_allclose(fill_gaps(path), [[1, 5], [1, 5], [2, 7], [3, 9]])
    with pytest.raises(ValueError, match="no known frame"):
        fill_gaps(np.full((3, 2), np.nan))
