"""Every kind of file: containers, codecs, depth, alpha, rotation, animation, damage, and what is no video."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from motion_embedding.errors import InputError
from motion_embedding.video import VideoRequest, decode_frames, picture_size
from tests.motion_embedding.video_media import make_animation, make_clip, numbered, numbers, quadrants, rotate_flag


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "prores_ks", "yuv422p10le"),
        ("a.mkv", "libx265", "yuv420p10le"),
        ("a.mkv", "ffv1", "gray"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
        ("a.avi", "mpeg4", "yuv420p"),
        ("a.ts", "libx264", "yuv420p"),
        ("a.mp4", "libx264", "yuv420p10le"),
        ("a.mp4", "libx264", "yuv444p"),
    ],
)
def test_containers_and_codecs(tmp_path: Path, name: str, codec: str, pix_fmt: str) -> None:
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = make_clip(tmp_path / name, 20, codec=codec, pix_fmt=pix_fmt, options=quiet)
    result = decode_frames(path, VideoRequest(start=0.5, frames=4))
    assert numbers(result.frames) == [5, 6, 7, 8]
    assert result.fps == pytest.approx(10)
    assert result.frames[0, 0, 0, 0].item() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_avi_with_pictures_shown_in_another_order(tmp_path: Path, codec: str) -> None:
    """AVI holds no times: of the same pictures in MP4, FFmpeg gives all, here late or out of order."""
    options = {"bf": "3", "g": "20", "b-pyramid": "normal"} if codec == "libx264" else {"bf": "2", "g": "12"}
    path = make_clip(tmp_path / "a.avi", 60, rate=25, codec=codec, options=options)
    for first in (0, 1, 13, 41, 56):
        result = decode_frames(path, VideoRequest(start=first / 25, frames=4))
        assert numbers(result.frames) == list(range(first, first + 4))
        assert result.times == pytest.approx([(first + index) / 25 for index in range(4)])
    assert numbers(decode_frames(path, VideoRequest(start=0.4, frames=5, fps=5)).frames) == [10, 15, 20, 25, 30]


def test_a_stream_without_time_stamps_follows_its_nominal_rate(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.h264", 30, rate=25)
    result = decode_frames(path, VideoRequest(start=0.4, frames=4))
    assert numbers(result.frames) == [10, 11, 12, 13]


def test_an_open_file_and_a_path_give_the_same(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4")
    buffer = io.BytesIO(path.read_bytes())
    buffer.seek(100)
    request = VideoRequest(start=0.5, frames=4)
    assert torch.equal(decode_frames(buffer, request).frames, decode_frames(str(path), request).frames)
    assert picture_size(buffer, "video") == (64, 48)


def test_more_than_eight_bits_are_kept(tmp_path: Path) -> None:
    def picture(index: int) -> np.ndarray:
        return np.full((16, 16), 30000 + 40 * index, np.uint16)

    path = make_clip(tmp_path / "deep.mkv", 5, codec="ffv1", pix_fmt="gray16le", picture=picture)
    levels = decode_frames(path, VideoRequest(frames=5)).frames[:, 8, 8, 1]
    # Steps of 40 in 65535 are invisible in eight bits, where one step is 257.
    assert (levels * 65535).tolist() == pytest.approx([30000 + 40 * index for index in range(5)], abs=12)


def test_odd_sizes(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "odd.mov", codec="png", pix_fmt="rgb24", picture=lambda index: numbered(index, 61, 47))
    exact = decode_frames(path, VideoRequest(frames=4, multiple_of=1))
    assert exact.frames.shape == (4, 47, 61, 3)
    assert torch.equal(exact.frames[3], torch.from_numpy(numbered(3, 61, 47)).float() / 255)
    assert decode_frames(path, VideoRequest(frames=4)).frames.shape == (4, 40, 56, 3)


@pytest.mark.parametrize(
    ("matrix", "corner_order"),
    [
        # Where the stored corners (0 top left, 1 top right, 2 bottom left, 3 bottom right) are seen.
        ((1, 0, 0, 1), [0, 1, 2, 3]),
        ((0, 1, -1, 0), [2, 0, 3, 1]),  # x' = -y, y' = x: a quarter turn clockwise, as phones held upright write
        ((-1, 0, 0, -1), [3, 2, 1, 0]),
        ((0, -1, 1, 0), [1, 3, 0, 2]),
    ],
)
def test_rotation_flag(tmp_path: Path, matrix: tuple[int, int, int, int], corner_order: list[int]) -> None:
    path = make_clip(tmp_path / "turned.mp4", 4, pix_fmt="yuv444p", picture=lambda _: quadrants(64, 48))
    frame = decode_frames(rotate_flag(path, matrix), VideoRequest(frames=4)).frames[0]
    assert frame.shape == ((64, 48, 3) if matrix[0] == 0 else (48, 64, 3))
    stored = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]).float()
    seen = torch.stack([frame[5, 5], frame[5, -6], frame[-6, 5], frame[-6, -6]])
    assert torch.allclose(seen, stored[corner_order], atol=0.05)


def test_rotation_and_size_together(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "turned.mp4", 4, pix_fmt="yuv444p", picture=lambda _: quadrants(64, 32))
    request = VideoRequest(frames=4, width=32, height=32, resize="fit")
    frame = decode_frames(rotate_flag(path, (0, 1, -1, 0)), request).frames[0]
    assert frame[:, :8].max() == 0
    assert frame[:, 24:].max() == 0
    assert frame[:, 9:23].mean() > 0.3


def test_pixels_that_are_not_square(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "wide.mp4", pixel_aspect=Fraction(4, 3))
    result = decode_frames(path, VideoRequest(frames=3, multiple_of=1))
    assert result.frames.shape == (3, 48, 85, 3)
    assert numbers(result.frames) == [0, 1, 2]


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_animations(tmp_path: Path, ending: str) -> None:
    path = make_animation(tmp_path / f"a.{ending}", 8, [100, 100, 400, 100, 100, 100, 100, 100])
    assert numbers(decode_frames(path, VideoRequest(frames=4, start=0.1)).frames) == [1, 2, 3, 4]
    # The third picture stays from 0.2 s to 0.6 s, so the ticks 0.2 and 0.4 s both show it or its neighbour in time.
    ticks = decode_frames(path, VideoRequest(frames=4, fps=5))
    assert numbers(ticks.frames) == [0, 2, 2, 3]
    assert decode_frames(path, VideoRequest(frames=4, start=0.6)).fps == pytest.approx(10, rel=0.02)


@pytest.mark.parametrize("ending", ["gif", "webp"])
def test_transparency_of_animations_is_black(tmp_path: Path, ending: str) -> None:
    path = make_animation(tmp_path / f"a.{ending}", alpha=True)
    frames = decode_frames(path, VideoRequest(frames=6)).frames
    assert frames[:, :, :32].max() == 0
    assert torch.allclose(frames[:, 20:, 40:50], torch.tensor([1.0, 0, 0]).expand(6, 28, 10, 3), atol=0.02)


def test_half_transparent_pixels_are_darkened(tmp_path: Path) -> None:
    def picture(_: int) -> np.ndarray:
        pixels = np.full((16, 32, 4), (255, 0, 0, 128), np.uint8)
        pixels[:, :16] = (255, 255, 255, 0)
        return pixels

    path = make_clip(tmp_path / "alpha.mov", 4, codec="png", pix_fmt="rgba", picture=picture)
    frame = decode_frames(path, VideoRequest(frames=4)).frames[0]
    assert frame[:, :16].max() == 0
    assert frame[8, 24].tolist() == pytest.approx([128 / 255, 0, 0])


def noisy(index: int) -> np.ndarray:
    """Numbered, with noise so that the picture data outweighs the index of the file."""
    noise = np.random.default_rng(index).integers(0, 60, (48, 64, 3), np.uint8)
    return np.where(numbered(index) > 0, 255 - noise, noise)


@pytest.fixture
def noisy_mp4(tmp_path: Path) -> Path:
    options = {"g": "10", "crf": "10"}
    return make_clip(
        tmp_path / "noisy.mp4", 60, picture=noisy, options=options, container_options={"movflags": "+faststart"}
    )


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_file_cut_off_in_the_middle(tmp_path: Path, noisy_mp4: Path, ending: str) -> None:
    path = noisy_mp4
    if ending == "mkv":
        path = make_clip(tmp_path / "noisy.mkv", 60, picture=noisy, options={"g": "10", "crf": "10"})
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    whole = decode_frames(path, VideoRequest(frames=8, start=1))
    assert numbers(whole.frames) == list(range(10, 18))
    part = decode_frames(path, VideoRequest(frames=60))
    readable = len(part.frames)
    assert 20 <= readable <= 32
    assert numbers(part.frames) == list(range(readable))
    assert f"{readable} of the 60 frames" in part.warning
    assert "cut off" in part.warning
    with pytest.raises(InputError, match="damaged or cut off") as error:
        decode_frames(path, VideoRequest(frames=8, start=5))
    assert error.value.name == "start"


def test_a_damaged_place_is_stepped_over(noisy_mp4: Path) -> None:
    content = bytearray(noisy_mp4.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 400] = b"\xff" * 400
    noisy_mp4.write_bytes(content)
    result = decode_frames(noisy_mp4, VideoRequest(frames=60))
    found = numbers(result.frames)
    assert found[:20] == list(range(20))
    assert found[-15:] == list(range(45, 60))
    assert result.warning


def test_one_picture_is_not_a_motion(tmp_path: Path) -> None:
    Image.fromarray(numbered(3)).save(tmp_path / "still.png")
    Image.fromarray(numbered(3)).save(tmp_path / "still.webp")
    make_clip(tmp_path / "one.mp4", 1)
    for name in ("still.png", "still.webp", "one.mp4"):
        with pytest.raises(InputError, match="only one frame; motion needs at least two"):
            decode_frames(tmp_path / name, VideoRequest())


def without_index(path: Path) -> bytes:
    content = make_clip(path).read_bytes()
    return content[: len(content) // 2]


@pytest.mark.parametrize(
    ("name", "content", "cause"),
    [
        ("empty.mp4", b"", "empty.mp4 is empty"),
        ("note.mp4", b"dear diary, " * 50, "note.mp4 is not a video"),
        ("note.txt", b"dear diary, " * 50, "note.txt is a text file"),
        ("half.webp", b"RIFF\x00\x10\x00\x00WEBPVP8X", "cannot be read"),
        ("cut.mp4", without_index, "its beginning or end is missing"),
    ],
)
def test_what_is_not_a_video(tmp_path: Path, name: str, content: object, cause: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content(path))
    with pytest.raises(InputError, match=cause) as error:
        decode_frames(path, VideoRequest(), name="video")
    assert error.value.name == "video"


def test_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.mp4", tmp_path):
        with pytest.raises(InputError, match="there is no file"):
            decode_frames(path, VideoRequest())


def test_sound_alone_is_not_a_video(tmp_path: Path) -> None:
    import wave

    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(8000))
    with pytest.raises(InputError, match="no picture track"):
        decode_frames(tmp_path / "sound.wav", VideoRequest())
