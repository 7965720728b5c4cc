"""Which frames are taken, at what rate, what is refused, and that no more than needed is decoded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from motion_embedding.errors import InputError
from motion_embedding.video import TensorClip, VideoRequest, decode_frames, write_video
from motion_embedding.video_source import FileClip
from tests.motion_embedding.video_media import make_clip, numbered, numbers


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 numbered frames at 10 per second, one key frame at the start."""
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """250 numbered frames at 25 per second with a key frame every 30 and frames that refer to later ones."""
    path = tmp_path_factory.mktemp("long") / "long.mp4"
    return make_clip(path, 250, rate=25, options={"g": "30", "bf": "3", "preset": "veryfast"})


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times of the frames that come out of the decoder while a test runs."""
    times: list[float] = []
    original = FileClip.frames

    def counted(self: FileClip, start: float = 0.0) -> Iterator:
        for frame in original(self, start):
            times.append(frame.time)
            yield frame

    monkeypatch.setattr(FileClip, "frames", counted)
    return times


def test_the_first_frames_at_the_clips_own_rate(clip: Path) -> None:
    result = decode_frames(clip, VideoRequest(frames=8))
    assert numbers(result.frames) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert result.fps == 10
    assert result.times == pytest.approx([index / 10 for index in range(8)])
    assert result.warning is None
    assert result.frames.dtype == torch.float32
    assert result.frames.shape == (8, 48, 64, 3)
    assert 0 <= result.frames.min() < 0.02 < 0.98 < result.frames.max() <= 1


@pytest.mark.parametrize(
    ("settings", "expected", "fps"),
    [
        ({"start": 0.5}, [5, 6, 7, 8], 10),
        ({"start": 0.56}, [6, 7, 8, 9], 10),
        ({"start": 0.75}, [7, 8, 9, 10], 10),  # half-way: the earlier frame
        ({"stride": 3}, [0, 3, 6, 9], 10 / 3),
        ({"start": 0.2, "stride": 5}, [2, 7, 12, 17], 2),
        ({"fps": 5}, [0, 2, 4, 6], 5),
        ({"fps": 4, "start": 0.1}, [1, 3, 6, 8], 4),  # 0.10, 0.35, 0.60, 0.85 s
        ({"fps": 20}, [0, 0, 1, 1], 20),
        ({"fps": 5, "stride": 2}, [0, 4, 8, 12], 2.5),
        ({"fps": 25}, [0, 0, 1, 1], 25),  # 0, 0.04, 0.08, 0.12 s
    ],
)
def test_start_stride_and_rate(clip: Path, settings: dict, expected: list[int], fps: float) -> None:
    result = decode_frames(clip, VideoRequest(frames=4, **settings))
    assert numbers(result.frames) == expected
    assert result.fps == pytest.approx(fps)


def test_variable_frame_rate_takes_the_frame_nearest_in_time(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "vfr.mp4", times=[0, 0.1, 0.2, 0.7, 0.8, 1.5, 1.6, 1.7])
    result = decode_frames(path, VideoRequest(frames=8, fps=5))
    # Ticks 0, .2, .4, .6, .8, 1.0, 1.2, 1.4 s.
    assert numbers(result.frames) == [0, 2, 2, 3, 4, 4, 5, 5]
    native = decode_frames(path, VideoRequest(frames=4, start=0.2))
    assert numbers(native.frames) == [2, 3, 4, 5]
    assert native.fps == pytest.approx(3 / 1.3)


@pytest.mark.parametrize("start", [0.0, 0.04, 1.16, 1.2, 1.24, 3.51, 7.21, 9.48])
def test_seeking_gives_what_decoding_from_the_beginning_gives(
    long_clip: Path, start: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = VideoRequest(start=start, frames=6)
    sought = decode_frames(long_clip, request)
    monkeypatch.setattr(FileClip, "_seek", lambda *_: False)
    plain = decode_frames(long_clip, request)
    assert torch.equal(sought.frames, plain.frames)
    assert numbers(sought.frames)[0] == round(start * 25)
    assert sought.times == plain.times


def test_an_index_that_leads_too_far_is_read_from_the_beginning(
    long_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seek = FileClip._seek
    monkeypatch.setattr(FileClip, "_seek", lambda self, start: seek(self, start + 3))
    assert numbers(decode_frames(long_clip, VideoRequest(start=4, frames=3)).frames) == [100, 101, 102]


def test_only_what_is_needed_is_decoded(tmp_path: Path, decoded: list[float]) -> None:
    def picture(index: int) -> np.ndarray:
        return numbered(index, 1920, 1080)

    options = {"g": "12", "preset": "ultrafast", "crf": "30"}
    path = make_clip(tmp_path / "hd.mp4", 60, rate=12, picture=picture, options=options)
    result = decode_frames(path, VideoRequest(start=3.5, frames=12, width=64, height=36, multiple_of=4))
    assert numbers(result.frames) == list(range(42, 54))
    assert result.frames.untyped_storage().nbytes() == 12 * 36 * 64 * 3 * 4
    # Key frames every second: from 3.0 s to the last frame wanted.
    assert len(decoded) == 6 + 12
    assert decoded[0] == pytest.approx(3.0)


def test_decoding_can_be_cancelled(clip: Path) -> None:
    class Cancelled(Exception):
        pass

    kept_so_far = []

    def on_frame(kept: int) -> None:
        kept_so_far.append(kept)
        if kept == 2:
            raise Cancelled

    with pytest.raises(Cancelled):
        decode_frames(clip, VideoRequest(frames=8, start=0.5), on_frame=on_frame)
    assert kept_so_far[-1] == 2
    assert len(kept_so_far) < 12


def test_a_window_is_the_whole_clip(clip: Path) -> None:
    request = VideoRequest(frames=4, start=0.2)
    result = decode_frames(clip, request, window=(1.0, 0.5))
    assert numbers(result.frames) == [12, 13, 14]
    assert result.times == pytest.approx([0.2, 0.3, 0.4])
    assert "3 of the 4" in result.warning
    assert numbers(decode_frames(clip, request, window=(1.0, 0.0)).frames) == [12, 13, 14, 15]
    with pytest.raises(InputError, match=r"0\.50 s long"):
        decode_frames(clip, VideoRequest(start=0.5), window=(1.0, 0.5))


def test_tensors_pass_through_unharmed() -> None:
    frames = torch.rand(10, 16, 24, 3, generator=torch.Generator().manual_seed(0))
    result = decode_frames(TensorClip(frames, 8.0), VideoRequest(start=0.25, frames=3, stride=2, multiple_of=1))
    assert torch.allclose(result.frames, frames[2:7:2], atol=1e-5)
    assert result.fps == 4


def test_a_short_clip_gives_what_it_has_and_says_so(clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        result = decode_frames(clip, VideoRequest(start=1.7, frames=8))
    assert numbers(result.frames) == [17, 18, 19]
    assert result.frames.untyped_storage().nbytes() == result.frames.numel() * 4
    assert "3 of the 8 frames" in result.warning
    assert "ends at 2.00 s" in result.warning
    assert result.warning in caplog.text


def test_start_at_the_end_says_the_length(clip: Path, decoded: list[float]) -> None:
    with pytest.raises(InputError, match=r"2\.00 s long") as error:
        decode_frames(clip, VideoRequest(start=2.0))
    assert error.value.name == "start"
    assert not decoded


def test_one_frame_left_is_refused(clip: Path) -> None:
    with pytest.raises(InputError, match="only one frame is left"):
        decode_frames(clip, VideoRequest(start=1.9))
    with pytest.raises(InputError, match="lower stride"):
        decode_frames(clip, VideoRequest(stride=20))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start", -0.1),
        ("start", float("inf")),
        ("frames", 1),
        ("frames", 5000),
        ("fps", -1),
        ("fps", float("nan")),
        ("stride", 0),
        ("width", -8),
        ("height", 20000),
        ("multiple_of", 0),
        ("resize", "zoom"),
    ],
)
def test_absurd_requests_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError) as error:
        VideoRequest(**{name: value})
    assert error.value.name == name


def test_written_video_reads_back(tmp_path: Path) -> None:
    colours = torch.tensor([[220, 30, 60], [20, 120, 200], [240, 240, 240], [0, 0, 0]]) / 255
    frames = colours[:, None, None].expand(4, 32, 48, 3)
    path = tmp_path / "new folder" / "out.mp4"
    write_video(path, frames, 12.5)
    result = decode_frames(path, VideoRequest(frames=4))
    assert result.fps == 12.5
    assert torch.allclose(result.frames, frames, atol=4 / 255)
    assert [file.name for file in path.parent.iterdir()] == ["out.mp4"]


def test_odd_sizes_are_padded_by_repeating_the_border(tmp_path: Path) -> None:
    frames = torch.zeros(3, 31, 45, 3)
    frames[:, :, 40:] = 1
    write_video(tmp_path / "odd.mp4", frames, 8)
    result = decode_frames(tmp_path / "odd.mp4", VideoRequest(frames=3, multiple_of=1))
    assert result.frames.shape == (3, 32, 46, 3)
    assert result.frames[:, :, 45].min() > 0.95
    assert result.frames[:, 31, :36].max() < 0.05


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("motion_embedding.video_writing.encode_h264", fail)
    with pytest.raises(OSError, match="disk full"):
        write_video(path, torch.zeros(2, 8, 8, 3), 8)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("shape", "fps"), [((8, 8, 3), 8), ((0, 8, 8, 3), 8), ((2, 8, 8, 4), 8), ((2, 8, 8, 3), 0)])
def test_what_cannot_be_written_is_refused(tmp_path: Path, shape: tuple[int, ...], fps: float) -> None:
    with pytest.raises(ValueError, match="must be"):
        write_video(tmp_path / "out.mp4", torch.zeros(shape), fps)
