"""Clips in one JPEG."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from motion_embedding.picture_strip import picture_strip


def opened(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(jpeg)).convert("RGB")).astype(int)


def shades(frames: int, height: int = 16, width: int = 24) -> np.ndarray:
    return np.broadcast_to(
        np.linspace(0, 255, frames).astype(np.uint8)[:, None, None, None], (frames, height, width, 3)
    )


def test_frames_lie_side_by_side_and_clips_one_under_another() -> None:
    jpeg, count = picture_strip((shades(4), shades(4)[::-1]), 10_000)
    strip = opened(jpeg)
    assert (count, strip.shape) == (4, (32, 96, 3))
    assert strip[8, 12::24, 0] == pytest.approx([0, 85, 170, 255], abs=3)
    assert strip[24, 12::24, 2] == pytest.approx([255, 170, 85, 0], abs=3)


def test_long_clips_lose_frames_evenly_and_keep_both_ends() -> None:
    jpeg, count = picture_strip([shades(93)], 20_000)
    strip = opened(jpeg)
    assert (count, strip.shape) == (24, (16, 24 * 24, 3))
    assert strip[8, 12::24, 1] == pytest.approx(np.linspace(0, 255, 24), abs=5)


def test_large_frames_are_made_smaller_in_their_form() -> None:
    strip = opened(picture_strip([shades(3, 256, 512)], 20_000)[0])
    assert strip.shape == (64, 3 * 128, 3)


def test_noise_fits_all_the_same() -> None:
    clip = np.random.default_rng(0).integers(0, 256, (24, 128, 128, 3), np.uint8)
    jpeg, count = picture_strip((clip, clip), 75_000)
    assert len(jpeg) <= 75_000
    height, width = opened(jpeg).shape[:2]
    assert width % count == 0 and height % 2 == 0
    with pytest.raises(ValueError, match="do not fit into 100 bytes"):
        picture_strip((clip, clip), 100)
