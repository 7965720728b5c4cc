"""The small picture in a motion's file."""

from __future__ import annotations

import json
import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from motion_embedding import files
from motion_embedding.thumbnail import MOST_BYTES, Thumbnail
from motion_embedding.transforms import join, mirror, repeat, reverse, rotate, shift, there_and_back


def clip(frames: int = 24, height: int = 40, width: int = 60) -> np.ndarray:
    """Frame i is grey of level 10 i with a white block in the upper left quarter."""
    pixels = np.repeat(np.arange(frames, dtype=np.uint8)[:, None, None, None] * 10, 3, axis=3)
    pixels = np.broadcast_to(pixels, (frames, height, width, 3)).copy()
    pixels[:, : height // 2, : width // 2] = 255
    return pixels


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, height, width, 3), dtype=np.uint8)


def levels(thumbnail: Thumbnail) -> list[float]:
    """The grey level of every picture's lower right."""
    frames = thumbnail.frames()
    return [float(frame[3 * len(frame) // 4 :, -10:].mean()) for frame in frames]


def test_frames_spread_over_the_clip_first_and_last_among_them() -> None:
    thumbnail = Thumbnail.of(clip())
    assert thumbnail.pictures == 8
    assert thumbnail.frames().shape == (8, 40, 60, 3)
    assert levels(thumbnail) == pytest.approx([0, 30, 70, 100, 130, 160, 200, 230], abs=4)
    with Image.open(BytesIO(thumbnail.strip)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (8 * 60, 40))


@pytest.mark.parametrize(
    ("size", "shown"), [((480, 832), (55, 96)), ((640, 320), (64, 32)), ((8, 6), (8, 6)), ((2, 4000), (1, 96))]
)
def test_large_frames_are_made_small_and_small_ones_left(size: tuple[int, int], shown: tuple[int, int]) -> None:
    assert Thumbnail.of(clip(3, *size)).frames().shape == (3, *shown, 3)


@pytest.mark.parametrize("size", [(480, 832), (64, 96), (512, 512)])
def test_the_hardest_clip_stays_within_the_bytes(size: tuple[int, int]) -> None:
    thumbnail = Thumbnail.of(noise(*size))
    assert len(thumbnail.strip) <= MOST_BYTES
    assert thumbnail.pictures in (1, 2, 4, 8)


def test_no_frames_no_thumbnail() -> None:
    assert Thumbnail.of(np.zeros((0, 8, 8, 3), np.uint8)) is None


def test_it_costs_at_most_8_kb_in_the_file_and_comes_back(small, tmp_path) -> None:
    plain, with_picture = tmp_path / "plain.safetensors", tmp_path / "picture.safetensors"
    motion = small.embedding()
    files.save(motion, plain)
    files.save(motion.replace(thumbnail=Thumbnail.of(noise(480, 832))), with_picture)
    assert 0 < with_picture.stat().st_size - plain.stat().st_size <= 8192
    assert files.load(plain).thumbnail is None
    assert files.load(with_picture).thumbnail == Thumbnail.of(noise(480, 832))


@pytest.mark.parametrize(
    "broken",
    [None, "x", {}, {"webp": "!", "pictures": 1}, {"webp": "R0lGODlh", "pictures": 1}, {"webp": 3, "pictures": 1}],
)
def test_a_broken_picture_is_no_reason_to_refuse_a_file(small, tmp_path, broken) -> None:
    path = tmp_path / "m.safetensors"
    files.save(small.embedding().replace(thumbnail=Thumbnail.of(clip())), path)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    document = json.loads(header["__metadata__"][files.FORMAT])
    header["__metadata__"][files.FORMAT] = json.dumps(document | {"thumbnail": broken})
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + content[8 + length :])
    assert files.load(path).thumbnail is None


def test_a_count_that_cannot_be_is_no_thumbnail() -> None:
    good = Thumbnail.of(clip()).document()
    assert Thumbnail.read(good) == Thumbnail.of(clip())
    assert [Thumbnail.read(good | {"pictures": count}) for count in (0, 65, "many", None)] == [None] * 4
    truncated = Thumbnail(Thumbnail.of(clip()).strip[:40], 8)
    assert truncated.edited(lambda frames: frames) is None


def test_edits_of_the_motion_are_seen_in_it(small) -> None:
    motion = small.embedding().replace(thumbnail=Thumbnail.of(clip(5)))
    grey = [0, 10, 20, 30, 40]

    def white(changed) -> list[tuple[int, int]]:
        """Which quarters of the first picture are white, as (row, column)."""
        first = changed.thumbnail.frames()[0][..., 0].astype(float)
        height, width = (size // 2 for size in first.shape)
        quarters = [(y, x) for y in (0, 1) for x in (0, 1)]
        return [
            (y, x)
            for y, x in quarters
            if first[y * height : (y + 1) * height, x * width : (x + 1) * width].mean() > 200
        ]

    assert levels(reverse(motion).thumbnail) == pytest.approx(grey[::-1], abs=4)
    assert levels(there_and_back(motion).thumbnail) == pytest.approx([*grey, 30, 20, 10], abs=4)
    assert levels(join(motion, reverse(motion)).thumbnail) == pytest.approx([0, 10, 20, 40, 40, 20, 10, 0], abs=11)
    assert repeat(motion, 2).thumbnail == motion.thumbnail
    assert white(motion) == [(0, 0)]
    assert white(mirror(motion, "left-right")) == [(0, 1)]
    assert white(mirror(motion, "up-down")) == [(1, 0)]
    assert white(rotate(motion, 1)) == [(1, 0)]
    assert rotate(motion, 1).thumbnail.frames().shape[1:3] == (60, 40)
    assert white(shift(motion, 0.5, 0)) == [(0, 0), (0, 1)]  # what moves in is the edge, white too
    assert white(shift(motion, 0, -0.5)) == []
    assert mirror(small.embedding(), "up-down").thumbnail is None
