"""What the picture of two clips shows, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from motion_embedding.metrics.picture import direction_colour, side_by_side

TITLE, GAP, ZOOM = 28, 8, 5


def moving(step: tuple[float, float], frames: int = 4) -> np.ndarray:
    """One track ``[1, F, 2]`` from (20, 20)."""
    return np.array([20.0, 20.0]) + np.arange(frames)[:, None] * np.array(step)[None]


def drawn(reference: np.ndarray, result: np.ndarray, lengths: tuple[int, int] = (4, 4)) -> np.ndarray:
    clips = [np.full((count, 64, 64, 3), 100, np.uint8) for count in lengths]
    return side_by_side(*clips, reference[None], result[None])


def at(picture: np.ndarray, frame: int, point: tuple[float, float], side: int) -> tuple[int, ...]:
    """The colour at a point of the small clip; ``side`` 0 is the reference."""
    x, y = ((value + 0.5) * ZOOM - 0.5 for value in point)
    return tuple(int(v) for v in picture[frame, round(y) + TITLE, round(x) + side * (64 * ZOOM + GAP)])


def test_small_clips_are_enlarged_and_stand_side_by_side():
    assert drawn(moving((4, 0)), moving((4, 0))).shape == (4, 64 * ZOOM + TITLE, 2 * 64 * ZOOM + GAP, 3)


def test_equal_directions_have_equal_colours_in_both_clips():
    picture = drawn(moving((4, 0)), moving((8, 0)))
    right = direction_colour(np.array([1.0, 0.0]))
    assert at(picture, 3, (26, 20), 0) == at(picture, 3, (26, 20), 1) == right
    assert direction_colour(np.array([-1.0, 0.0])) != right


def test_a_trail_grows_with_the_frames_and_keeps_its_place():
    picture = drawn(moving((8, 0)), moving((0, 8)))
    plain = (65, 65, 65)
    assert at(picture, 0, (40, 20), 0) == plain
    assert at(picture, 3, (40, 20), 0) != plain
    assert at(picture, 3, (20, 40), 1) == direction_colour(np.array([0.0, 1.0]))


def test_a_resting_point_is_grey_and_an_unknown_one_is_not_drawn():
    lost = moving((8, 0))
    lost[1:] = np.nan
    picture = drawn(moving((0, 0)), lost)
    assert at(picture, 3, (20, 20), 0) == (190, 190, 190)
    assert at(picture, 3, (28, 20), 1) == (65, 65, 65)


@pytest.mark.parametrize(("lengths", "frames"), [((7, 4), 4), ((4, 7), 7)])
def test_the_result_sets_the_number_of_frames(lengths, frames):
    tracks = [moving((4, 0), length) for length in lengths]
    assert len(drawn(*tracks, lengths)) == frames


def test_clips_of_different_shape_stand_in_one_frame():
    picture = side_by_side(
        np.zeros((3, 64, 64, 3), np.uint8),
        np.zeros((3, 320, 576, 3), np.uint8),
        np.zeros((0, 3, 2)),
        moving((4, 0), 3)[None],
    )
    assert picture.shape == (3, 320 + TITLE, 320 + GAP + 576, 3)
