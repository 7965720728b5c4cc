"""Sizes and placement against geometry worked out by hand."""

from __future__ import annotations

import av
import numpy as np
import pytest

from motion_embedding.video_geometry import Canvas, canvas_for, render, scaled_size
from tests.motion_embedding.video_media import quadrants

RED, GREEN, BLUE, WHITE, BLACK = (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1), (0, 0, 0)


def frame(pixels: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(pixels, format="rgb24")


@pytest.mark.parametrize(
    ("source", "asked", "multiple", "expected"),
    [
        ((1921, 1081), (0, 0), 8, (1920, 1080)),  # kept: trimmed down
        ((1927, 1087), (0, 0), 8, (1920, 1080)),
        ((1921, 1081), (0, 0), 1, (1921, 1081)),
        ((5, 3), (0, 0), 8, (8, 8)),
        ((1920, 1080), (512, 0), 8, (512, 288)),
        ((1920, 1080), (0, 320), 8, (568, 320)),  # 568.9 is nearest to 568
        ((1920, 1080), (500, 300), 16, (496, 304)),  # 31.25 and 18.75 times 16
        ((1920, 1080), (3, 3), 8, (8, 8)),
    ],
)
def test_canvas_size(source, asked, multiple, expected) -> None:
    canvas = canvas_for(source, *asked, "crop", multiple)
    assert (canvas.width, canvas.height) == expected


@pytest.mark.parametrize(
    ("resize", "expected"),
    [("stretch", (64, 64)), ("crop", (128, 64)), ("fit", (64, 32))],
)
def test_scaled_size_of_a_wide_source_on_a_square(resize, expected) -> None:
    assert scaled_size((200, 100), Canvas(64, 64, resize)) == expected


def test_a_kept_size_is_trimmed_without_resampling() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (19, 21, 3), np.uint8)
    canvas = canvas_for((21, 19), 0, 0, "crop", 8)
    assert np.array_equal(render(frame(pixels), canvas), pixels[1:17, 2:18].astype(np.float32) / 255)


def corners(picture: np.ndarray, margin: int = 4) -> list[tuple[int, ...]]:
    """Rounded colours near the four corners: top left, top right, bottom left, bottom right."""
    far = -1 - margin
    places = [(margin, margin), (margin, far), (far, margin), (far, far)]
    return [tuple(round(float(value)) for value in picture[place]) for place in places]


def test_stretch_shows_every_quadrant_to_its_edges() -> None:
    picture = render(frame(quadrants(200, 100)), Canvas(64, 64, "stretch"))
    assert picture.shape == (64, 64, 3)
    assert corners(picture) == [RED, GREEN, BLUE, WHITE]


def test_crop_takes_the_middle() -> None:
    # A 400x100 picture whose outer fifths are black: the middle 100x100 has only colour.
    pixels = quadrants(400, 100)
    pixels[:, :80] = pixels[:, 320:] = 0
    picture = render(frame(pixels), Canvas(64, 64, "crop"))
    assert corners(picture) == [RED, GREEN, BLUE, WHITE]
    assert picture[20, 28].argmax() == 0
    assert picture[20, 36].argmax() == 1


def test_crop_of_a_tall_source_takes_the_middle() -> None:
    pixels = quadrants(100, 400)
    pixels[:80] = pixels[320:] = 0
    assert corners(render(frame(pixels), Canvas(64, 64, "crop"))) == [RED, GREEN, BLUE, WHITE]


def test_fit_shows_everything_between_black_bars() -> None:
    picture = render(frame(quadrants(200, 100)), Canvas(64, 64, "fit"))
    assert np.all(picture[:16] == 0)
    assert np.all(picture[48:] == 0)
    assert corners(picture[16:48]) == [RED, GREEN, BLUE, WHITE]


def test_enlarging_keeps_the_quadrants() -> None:
    assert corners(render(frame(quadrants(20, 10)), Canvas(64, 32, "crop"))) == [RED, GREEN, BLUE, WHITE]


def test_wide_pixels_widen_the_picture() -> None:
    canvas = canvas_for((64 * 2, 48), 0, 0, "crop", 8)
    picture = render(frame(quadrants(64, 48)), canvas, pixel_aspect=2.0)
    assert picture.shape == (48, 128, 3)
    assert corners(picture) == [RED, GREEN, BLUE, WHITE]


def test_hidden_colour_does_not_bleed_out_of_transparency() -> None:
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, ::2] = (0, 0, 255, 255)
    pixels[:, 1::2] = (255, 255, 255, 0)
    picture = render(av.VideoFrame.from_ndarray(pixels, format="rgba"), Canvas(8, 8, "stretch"))
    assert picture[..., :2].max() == 0
    assert picture[..., 2] == pytest.approx(np.full((8, 8), 0.5), abs=0.02)
