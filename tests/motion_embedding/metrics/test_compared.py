"""Clips side by side: which frame stands where, and where trails are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from motion_embedding.metrics.compared import compared, laid_over
from motion_embedding.metrics.picture import arrows, direction_colour

TITLE, GAP = 28, 8
RIGHT = direction_colour(np.array([1.0, 0.0]))


def clip(frames: int, height: int = 40, width: int = 40, step: int = 10) -> np.ndarray:
    """Frame ``i`` is plain, of brightness ``step * i``."""
    return np.full((frames, height, width, 3), (np.arange(frames) * step)[:, None, None, None], np.uint8)


def sizes(*clips: np.ndarray) -> tuple[int, ...]:
    return compared(clips, ["x"] * len(clips)).shape


def test_longer_and_shorter_clips_are_in_sync_with_the_first() -> None:
    picture = compared([clip(5), clip(9), clip(3)], ["a", "b", "c"])
    assert len(picture) == 5
    middle = [TITLE + 160, *(160 + index * (320 + GAP) for index in range(3))]
    shown = np.stack([picture[:, middle[0], x, 0] for x in middle[1:]]).tolist()
    assert shown == [[0, 10, 20, 30, 40], [0, 20, 40, 60, 80], [0, 0, 10, 20, 20]]


def test_all_have_one_height_and_keep_their_shape() -> None:
    assert sizes(clip(2), clip(2)) == (2, 320 + TITLE, 2 * 320 + GAP, 3)
    assert sizes(clip(2, 400, 200), clip(2, 50, 100)) == (2, 400 + TITLE, 200 + GAP + 800, 3)
    assert sizes(clip(2, 1440, 720), clip(2)) == (2, 720 + TITLE, 360 + GAP + 720, 3)


def test_four_stand_in_two_rows_and_five_in_three_columns() -> None:
    assert sizes(*[clip(2)] * 4) == (2, 2 * (320 + TITLE) + GAP, 2 * 320 + GAP, 3)
    assert sizes(*[clip(2)] * 5) == (2, 2 * (320 + TITLE) + GAP, 3 * 320 + 2 * GAP, 3)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_it_is_never_wider_than_2560_and_always_even(count: int) -> None:
    frames, height, width, _ = sizes(*[clip(2, 721, 1281)] * count)
    assert 2200 < width <= 2560
    assert (height % 2, width % 2, frames) == (0, 0, 2)


def test_without_tracks_frames_stay_as_they_are_and_with_them_trails_are_drawn() -> None:
    plain = clip(4, step=0) + np.uint8(100)
    path = np.array([4.0, 20.0]) + np.arange(4)[:, None] * np.array([8.0, 0.0])
    bare = compared([plain, plain], ["a", "b"])
    assert (bare[:, TITLE:, :320] == 100).all()
    drawn = compared([plain, plain], ["a", "b"], [path[None], np.zeros((0, 4, 2))])
    at = TITLE + round(20.5 * 8 - 0.5)
    assert tuple(drawn[3, at, 130]) == RIGHT
    assert tuple(drawn[0, at, 130]) == (65, 65, 65)
    assert (drawn[:, TITLE:, 320 + GAP :] == 65).all()


def test_trails_of_a_longer_clip_are_those_of_the_frames_that_are_shown() -> None:
    long = clip(7, step=0) + np.uint8(100)
    path = np.array([4.0, 20.0]) + np.arange(7)[:, None] * np.array([4.0, 0.0])
    drawn = compared([clip(3), long], ["a", "b"], [np.zeros((0, 3, 2)), path[None]])
    row = drawn[:, TITLE + round(20.5 * 8 - 0.5), 320 + GAP :]
    ends = [np.flatnonzero((frame == RIGHT).all(-1)).max(initial=0) for frame in row]
    assert ends[0] == 0  # one point, no direction yet
    assert ends[1:] == pytest.approx([16.5 * 8 - 0.5, 28.5 * 8 - 0.5], abs=4)


def test_tracks_are_laid_over_a_clip_of_another_size_and_length() -> None:
    tracks = np.array([[[0.0, 0.0], [39.0, 19.0]]])
    laid = laid_over(tracks, (40, 20), clip(3, 40, 80))
    np.testing.assert_allclose(laid, [[[0.5, 0.5], [39.5, 19.5], [78.5, 38.5]]])


def test_arrows_end_where_a_point_was_seen_last() -> None:
    nan = [np.nan, np.nan]
    tracks = np.array(
        [
            [[10.0, 10.0], [30.0, 10.0], [50.0, 10.0]],
            [[10.0, 30.0], [30.0, 30.0], nan],
            [nan, [10.0, 50.0], [50.0, 50.0]],
            [[10.0, 70.0], [10.0, 70.0], [10.0, 70.0]],
        ]
    )
    picture = arrows(np.full((80, 80, 3), 100, np.uint8), tracks, 0, 2, 320)
    assert picture.shape == (320, 320, 3)
    reached = [np.flatnonzero((picture[round((y + 0.5) * 4 - 0.5)] == RIGHT).all(-1)) for y in (10, 30, 50, 70)]
    assert [int(found.max(initial=0)) for found in reached[:2]] == pytest.approx([50.5 * 4, 30.5 * 4], abs=4)
    assert not len(reached[2]) and not len(reached[3])
    assert (picture[round(70.5 * 4 - 0.5), round(10.5 * 4 - 0.5)] == 190).all()
