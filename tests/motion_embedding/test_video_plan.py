"""What is said before decoding is what decoding gives; and the film strip shows the clip from end to end."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motion_embedding import video_strip
from motion_embedding.errors import InputError
from motion_embedding.video import VideoRequest, decode_frames
from motion_embedding.video_plan import VideoFacts, plan, read_facts
from motion_embedding.video_source import open_clip
from motion_embedding.video_strip import film_strip, on_screen
from tests.motion_embedding.video_media import make_animation, make_clip, numbers, quadrants, rotate_flag


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 numbered frames, 64x48, at 10 frames per second."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


def test_facts_of_a_file(clip: Path) -> None:
    facts = read_facts(clip)
    assert (facts.frames, facts.width, facts.height, facts.rotation) == (20, 64, 48, 0)
    assert (facts.duration, facts.fps) == (pytest.approx(2, abs=0.01), pytest.approx(10, abs=0.05))


def test_facts_of_a_turned_file(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "turned.mp4", picture=lambda _: quadrants(64, 48))
    facts = read_facts(rotate_flag(path, (0, 1, -1, 0)))
    assert (facts.width, facts.height) == (48, 64)
    assert facts.rotation in (90, 270)


@pytest.mark.parametrize("name", ["a.webp", "a.gif"])
def test_facts_of_an_animation(tmp_path: Path, name: str) -> None:
    facts = read_facts(make_animation(tmp_path / name, count=6, duration_ms=200))
    assert facts == VideoFacts(pytest.approx(1.2, abs=0.01), pytest.approx(5, abs=0.05), 6, 64, 48)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"start": 0.5, "stride": 2},
        {"start": 0.26, "frames": 5},
        {"start": 1.0, "frames": 16},
        {"fps": 4.0, "frames": 6, "start": 0.3},
        {"fps": 25.0, "frames": 64, "start": 0.11},
        {"fps": 6.0, "stride": 3, "frames": 20},
        {"width": 32, "multiple_of": 16},
        {"height": 24, "width": 100, "resize": "fit"},
    ],
)
def test_the_plan_is_what_decoding_gives(clip: Path, settings: dict) -> None:
    request = VideoRequest(**settings)
    expected, decoded = plan(read_facts(clip), request), decode_frames(clip, request)
    assert (expected.frames, expected.height, expected.width) == tuple(decoded.frames.shape[:3])
    assert expected.fps == pytest.approx(decoded.fps, rel=0.01)
    assert (expected.start, expected.end) == pytest.approx((decoded.times[0], decoded.times[-1]), abs=0.02)
    assert expected.memory == pytest.approx(decoded.frames.numel() * 4 / 2**20)
    assert expected.warning == decoded.warning


@pytest.mark.parametrize(
    ("settings", "name", "words"),
    [
        ({"start": 2.0}, "start", "at or after the end of the clip, which is 2.00 s long"),
        ({"start": 1.9}, "frames", "only one frame is left"),
        ({"stride": 30}, "frames", "only one frame is left"),
    ],
)
def test_what_cannot_be_decoded_is_said_before(clip: Path, settings: dict, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        plan(read_facts(clip), VideoRequest(**settings))
    assert error.value.name == name


def test_a_picture_is_no_clip() -> None:
    with pytest.raises(InputError, match="only one frame"):
        plan(VideoFacts(0.1, 10, 1, 8, 8), VideoRequest())


def pictures(strip: bytes, count: int) -> torch.Tensor:
    """The strip's pictures ``[count, H, W, 3]`` in 0..1."""
    pixels = np.asarray(Image.open(BytesIO(strip)))
    return torch.from_numpy(np.stack(np.split(pixels, count, axis=1))).float() / 255


def test_the_strip_shows_the_middle_of_every_part(clip: Path) -> None:
    tiles = pictures(film_strip(clip, read_facts(clip), 4, 48), 4)
    assert tiles.shape == (4, 48, 64, 3)
    assert numbers(tiles) == [2, 7, 12, 17]  # 0.25 s, 0.75 s ... at ten frames per second


def test_a_long_clip_is_shown_by_its_key_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "clip.mp4", 40, options={"g": "10", "bf": "0", "sc_threshold": "0"})
    monkeypatch.setattr(video_strip, "_PIXELS_AFFORDED", 39 * 64 * 48)
    assert numbers(pictures(film_strip(path, read_facts(path), 4, 48), 4)) == [0, 10, 20, 30]


def test_a_strip_of_an_animation_has_as_many_pictures_as_asked(tmp_path: Path) -> None:
    path = make_animation(tmp_path / "a.webp", count=3)
    assert numbers(pictures(film_strip(path, read_facts(path), 6, 48), 6)) == [0, 0, 1, 1, 2, 2]


def test_a_clip_that_ends_early_ends_with_its_last_picture(clip: Path) -> None:
    with open_clip(clip, "file") as frames:
        shown = [frame.time for frame in on_screen(frames.frames(), [0.0, 1.95, 9.0])]
    assert shown == pytest.approx([0, 1.9, 1.9])


def test_a_wide_clip_gets_tiles_that_are_not_too_wide(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "wide.mp4", 3, picture=lambda _: quadrants(256, 16))
    assert pictures(film_strip(path, read_facts(path), 2, 16), 2).shape == (2, 16, 40, 3)
