"""What is left out of decoding changes nothing about the frames, and is as much as can be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from motion_embedding.video import VideoRequest, decode_frames
from motion_embedding.video_packets import PacketPlan
from motion_embedding.video_source import FileClip
from tests.motion_embedding.video_media import make_clip, numbered, numbers


def textured(index: int) -> np.ndarray:
    """Numbered, with grain, so that a picture made of the wrong ones shows."""
    return numbered(index) // 2 + np.random.default_rng(index).integers(0, 60, (48, 64, 3), np.uint8) + 30


def every_frame(path: Path) -> list[tuple[float, np.ndarray]]:
    """Time and 8-bit pixels of all frames, decoded one after the other by one thread and nothing of ours."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        frames = [(float(f.pts * f.time_base), f.to_ndarray(format="rgb24")) for f in container.decode(stream)]
        return [(time - frames[0][0], pixels) for time, pixels in frames]


@pytest.fixture
def came_out(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Times of the frames that came out of the decoder while a test ran."""
    times: list[float] = []
    original = FileClip._decode

    def counted(self: FileClip) -> Iterator:
        for frame in original(self):
            times.append(frame.time)
            yield frame

    monkeypatch.setattr(FileClip, "_decode", counted)
    return times


FILMS = {
    "pyramid": ("a.mp4", "libx264", {"g": "40", "bf": "6", "b-pyramid": "normal", "sc_threshold": "0"}),
    "open": ("a.mp4", "libx264", {"g": "20", "bf": "3", "x264-params": "open-gop=1", "sc_threshold": "0"}),
    "refresh": ("a.mkv", "libx264", {"g": "20", "x264-params": "intra-refresh=1"}),
    "matroska": ("a.mkv", "libx264", {"g": "25", "bf": "3"}),
    "transport": ("a.ts", "libx264", {"g": "25", "bf": "3"}),
    "interlaced": ("a.mp4", "libx264", {"g": "25", "bf": "3", "x264-params": "interlaced=1:bff=1"}),
    "hevc": ("a.mp4", "libx265", {"g": "25", "x265-params": "log-level=none:temporal-layers=3"}),
    "vp9": ("a.webm", "libvpx-vp9", {"g": "25", "deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "1"}),
    "mpeg4": ("a.mp4", "mpeg4", {"g": "12", "bf": "2"}),
    "without times": ("a.avi", "mpeg4", {"g": "12"}),
}


@pytest.mark.parametrize("film", FILMS)
def test_the_same_frames_as_decoding_everything(tmp_path: Path, film: str) -> None:
    name, codec, options = FILMS[film]
    path = make_clip(tmp_path / name, 120, rate=25, codec=codec, picture=textured, options=options)
    frames = every_frame(path)
    assert len(frames) >= 118
    for request in (
        *(VideoRequest(start=first / 25 + 0.01, frames=6) for first in (1, 19, 38, 61, 99)),
        VideoRequest(start=0.3, frames=12, fps=2.7),
        VideoRequest(start=1.0, frames=3, fps=0.7),
        VideoRequest(start=0.0, frames=3, fps=0.45, stride=1),
        VideoRequest(start=2.4, frames=5, stride=7),
    ):
        result = decode_frames(path, request)
        ticks = [request.start + index * request.stride / (request.fps or 25) for index in range(request.frames)]
        nearest = [min(range(len(frames)), key=lambda i: (round(abs(frames[i][0] - t), 6), i)) for t in ticks]
        assert len(result.times) == request.frames
        for pixels, time, index in zip(result.frames, result.times, nearest, strict=True):
            assert time == pytest.approx(frames[index][0], abs=1e-3)
            assert torch.equal(pixels, torch.from_numpy(frames[index][1]).float() / 255)


def test_pictures_that_none_is_made_of_are_not_decoded_on_the_way(tmp_path: Path, came_out: list[float]) -> None:
    options = {"g": "100", "bf": "3", "b_strategy": "0", "b-pyramid": "none", "sc_threshold": "0"}
    path = make_clip(tmp_path / "a.mp4", 100, rate=25, picture=textured, options=options)
    decode_frames(path, VideoRequest(start=80 / 25, frames=4))
    before = [round(time * 25) for time in came_out if time < 80 / 25 - 0.01]
    assert before == list(range(0, 80, 4))  # I and P; three B between two of them


def test_a_far_tick_is_reached_by_its_key_frame(tmp_path: Path, came_out: list[float]) -> None:
    path = make_clip(tmp_path / "a.mp4", 200, rate=25, options={"g": "10", "bf": "0", "sc_threshold": "0"})
    result = decode_frames(path, VideoRequest(start=0.1, frames=4, fps=0.5))
    assert numbers(result.frames) == [2, 52, 102, 152]  # 0.1, 2.1, 4.1, 6.1 s; half-way goes to the earlier
    needed = {key + n for key in (0, 50, 100, 150) for n in range(4)}
    assert needed == {round(time * 25) for time in came_out}


def packet(stamp: int | None, key: bool = False, size: int = 100) -> SimpleNamespace:
    return SimpleNamespace(pts=stamp, is_keyframe=key, size=size, is_discard=False)


def plan(packets: list, codec: str = "h264") -> PacketPlan:
    return PacketPlan(iter(packets), codec, float)


def steps(packets: list, wanted: float, codec: str = "h264") -> list[tuple[int | None, bool, bool]]:
    return [(s.packet.pts, s.afresh, s.needless) for s in plan(packets, codec).steps(lambda: wanted)]


KEYED = [packet(0, True), packet(2), packet(1), packet(3, True), packet(5), packet(4), packet(6, True)]


def test_what_lies_before_the_last_key_frame_is_left_out() -> None:
    assert steps(KEYED, 5.5) == [(3, True, True), (5, False, False), (4, False, True), (6, False, False)]
    assert steps(KEYED, 0.0) == [(p.pts, False, False) for p in KEYED]
    assert [step[0] for step in steps(KEYED, 5.5, "gif")] == [p.pts for p in KEYED]


def test_only_h264_says_what_is_needless() -> None:
    assert steps(KEYED, 5.5, "hevc") == [(3, True, False), (5, False, False), (4, False, False), (6, False, False)]


def test_the_wanted_time_may_rise() -> None:
    wanted = [0.0]
    taken = plan(KEYED).steps(lambda: wanted[0])
    assert next(taken).packet.pts == 0
    wanted[0] = 6.0
    assert [(s.packet.pts, s.afresh) for s in taken] == [(6, True)]


def test_a_packet_without_a_time_ends_all_leaving_out() -> None:
    packets = [packet(0, True), packet(None), packet(3, True), packet(4)]
    assert steps(packets, 4.0) == [(0, False, False), (None, False, False), (3, False, False), (4, False, False)]


def test_few_packets_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A film with one key frame would else be read into memory up to the wanted time."""
    monkeypatch.setattr("motion_embedding.video_packets._MOST_AHEAD", 1000)
    read = []

    def packets() -> Iterator[SimpleNamespace]:
        for stamp in range(100):
            read.append(stamp)
            yield packet(stamp, stamp == 0)

    held = [len(read) - n for n, _ in enumerate(PacketPlan(packets(), "h264", float).steps(lambda: 90.0))]
    assert max(held) <= 10
    assert len(held) == 100


def test_a_failure_to_read_comes_after_what_was_read() -> None:
    def packets() -> Iterator[SimpleNamespace]:
        yield from KEYED
        raise OSError("gone")

    failing = PacketPlan(packets(), "h264", float)
    assert [s.packet.pts for s in failing.steps(lambda: 4.0)] == [3, 5, 4, 6]
    assert failing.failed


def test_stamps_that_are_not_true_are_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key frames that are none: what comes out lacks the picture that is due, and all is read anew."""
    path = make_clip(tmp_path / "a.mp4", 60, rate=25, options={"g": "60", "bf": "0"})
    take = PacketPlan._take

    def wrongly(self: PacketPlan, packet: av.Packet) -> bool:
        shown = packet.pts is not None and round(float(packet.pts * packet.time_base) * 25)
        if shown == 30:
            packet = SimpleNamespace(pts=packet.pts, is_keyframe=True, size=packet.size, is_discard=False, is_corrupt=0)
        return take(self, packet)

    monkeypatch.setattr(PacketPlan, "_take", wrongly)
    original = FileClip._decoded
    monkeypatch.setattr(
        FileClip, "_decoded", lambda self, packet: () if isinstance(packet, SimpleNamespace) else original(self, packet)
    )
    assert numbers(decode_frames(path, VideoRequest(start=1.24, frames=3)).frames) == [31, 32, 33]
