"""The picture of a motion, by its pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motion_embedding.debias import Debias
from motion_embedding.embedding import LayerEmbedding, MotionEmbedding
from motion_embedding.metrics.picture import direction_colour
from motion_embedding.motion_picture import WIDTH, colours, motion_picture
from motion_embedding.thumbnail import Thumbnail

YELLOW, DARK, RED, GREY = (253, 231, 37), (68, 1, 84), (214, 39, 40), (225, 227, 232)


def motion(layers: int = 3, frames: int = 5) -> MotionEmbedding:
    """All zero."""
    made = {
        f"blocks.{i}": LayerEmbedding(torch.zeros(frames, 4), {"self_attn": torch.zeros(2, 2, frames, 4)})
        for i in range(layers)
    }
    return MotionEmbedding(made, "wan", frames, 4, 4)


def box(picture: np.ndarray, colour: tuple[int, int, int]) -> tuple[slice, slice]:
    """The rows and columns between which ``colour`` lies."""
    rows, columns = np.nonzero((picture == colour).all(-1))
    return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


def count(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(-1).sum())


def test_colours_go_from_dark_to_yellow() -> None:
    found = colours(np.array([0.0, 2.0, -1.0, np.nan]), 2.0)
    assert [tuple(int(c) for c in each) for each in found] == [DARK, YELLOW, GREY, RED]
    assert tuple(int(c) for c in colours(np.zeros(1), 0.0)[0]) == DARK


def test_the_hot_cell_lies_in_its_layer_and_frame() -> None:
    still, found = motion(), motion()
    found.layers["blocks.1"].query_key[3] = 1.0
    picture = motion_picture(found)
    left = picture[:, :480]  # the map of rows as learnt; the legend, which is yellow as well, is on the right
    rows, columns = box(left, YELLOW)
    whole_rows, whole_columns = box(motion_picture(still)[: rows.stop + 60, :480], DARK)
    height, width = whole_rows.stop - whole_rows.start, whole_columns.stop - whole_columns.start
    assert height == 3 * 32
    assert (rows.start - whole_rows.start) / height == pytest.approx(1 / 3, abs=0.02)
    assert (rows.stop - whole_rows.start) / height == pytest.approx(2 / 3, abs=0.02)
    assert (columns.start - whole_columns.start) / width == pytest.approx(3 / 5, abs=0.02)
    assert (columns.stop - whole_columns.start) / width == pytest.approx(4 / 5, abs=0.02)


def test_a_camera_motion_has_no_value_maps() -> None:
    full = motion()
    camera = full.replace(
        layers={name: LayerEmbedding(layer.query_key) for name, layer in full.layers.items()}, debias=Debias("camera")
    )
    assert len(motion_picture(camera)) < len(motion_picture(full)) - 90
    assert count(motion_picture(camera), RED) == 0


def test_trouble_is_red() -> None:
    broken = motion()
    broken.layers["blocks.0"].query_key[2, 1] = float("nan")
    assert count(motion_picture(motion()), RED) == 0
    assert count(motion_picture(broken), RED) > 3 * 1000  # a cell on the left, two on the right, and a line of text


@pytest.mark.parametrize(("layers", "frames"), [(1, 1), (1, 2), (80, 81), (300, 16)])
def test_it_keeps_its_width_and_a_bearable_height(layers: int, frames: int) -> None:
    picture = motion_picture(motion(layers, frames))
    assert picture.shape[1:] == (WIDTH, 3) and picture.dtype == np.uint8
    assert len(picture) < 560 + 2 * (100 + max(540, 4 * layers))


@pytest.mark.parametrize(("length", "moments"), [(2, 1), (3, 2), (9, 3)])
def test_arrows_point_where_the_clip_goes(length: int, moments: int) -> None:
    frames = np.full((length, 40, 60, 3), 100, np.uint8)
    tracks = np.array([10.0, 20.0]) + np.arange(length)[:, None] * np.array([30.0 / length, 0.0])
    plain = motion_picture(motion())
    picture = motion_picture(motion(), frames, tracks[None])
    strip = picture[len(plain) :]
    right, shaded = direction_colour(np.array([1.0, 0.0])), (65, 65, 65)
    columns = np.flatnonzero((strip == shaded).all(-1).any(0))
    assert 1 + (np.diff(columns) > 1).sum() == moments
    assert count(strip, right) > 20 * moments and count(plain, right) == 0


def test_a_clip_without_a_point_to_follow_is_shown_bare() -> None:
    picture = motion_picture(motion(), np.full((4, 40, 60, 3), 100, np.uint8), np.zeros((0, 4, 2)))
    assert count(picture, (65, 65, 65)) > 3 * 200 * 100


def test_the_small_pictures_of_the_file_are_shown_where_the_clip_is_not() -> None:
    orange = (250, 128, 10)
    clip = np.full((20, 48, 64, 3), orange, np.uint8)
    seen = motion().replace(thumbnail=Thumbnail.of(clip))
    shown = motion_picture(seen)
    near = (np.abs(shown.astype(int) - orange) < 12).all(-1)
    rows, columns = np.nonzero(near)
    width = (WIDTH - 2 * 20 - 7 * 6) // 8
    assert near.sum() == 8 * width * round(width * 48 / 64)
    assert (columns.min(), columns.max() + 1) == (20, 20 + 8 * width + 7 * 6)
    assert rows.max() < box(shown, DARK)[0].start  # above the heat maps
    with_clip = motion_picture(seen, clip, np.zeros((0, 20, 2)))
    assert with_clip.shape == motion_picture(motion(), clip, np.zeros((0, 20, 2))).shape
    broken = motion().replace(thumbnail=Thumbnail(b"RIFF....WEBP", 3))
    assert np.array_equal(motion_picture(broken), motion_picture(motion()))
