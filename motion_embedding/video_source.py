"""Clips as streams of timed frames: files through FFmpeg, animated WebP through Pillow, tensors as they are."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import av
import numpy as np
import torch
from PIL import Image

from .errors import InputError
from .video_packets import PacketPlan

TIME_TOLERANCE = 1e-6
"""Seconds below which two times are the same."""

_NOT_A_VIDEO = "Choose a video file (mp4, mov, webm, mkv, avi) or a GIF or WebP animation."
_UNUSUAL_RATE = 1000
_TEXT_DEMUXERS = {"tty", "ansi"}


class TimedFrame(NamedTuple):
    """A picture, the second of the clip at which it appears (the first is near 0), and how long it stays."""

    time: float
    duration: float
    picture: av.VideoFrame


class Clip:
    """A readable clip. ``frames`` streams it; the other attributes say what is known about it."""

    length: float | None = None
    """Seconds promised by the header, where there is one."""
    rate: float | None = None
    """Average frames per second promised by the header."""
    pixel_aspect: float = 1.0
    damaged: bool = False
    """Set while reading: something could not be decoded."""
    wanted: float = 0.0
    """Seconds before which nothing is wanted but the last frame. May be raised while reading, to save decoding."""

    def frames(self, start: float = 0.0) -> Iterator[TimedFrame]:
        """Frames in order of time, beginning at or before the last one that is not after ``start`` (seconds).

        Where ``wanted`` has been raised, frames in front of the last one that is not after it may be missing.
        """
        raise NotImplementedError


class TensorClip(Clip):
    """Frames that are already in memory, ``[F, H, W, 3 or more]`` in 0..1, at a constant rate."""

    def __init__(self, frames: torch.Tensor, fps: float) -> None:
        self._frames = frames
        self.rate = fps
        self.length = len(frames) / fps

    def frames(self, start: float = 0.0) -> Iterator[TimedFrame]:
        first = max(0, int(start * self.rate) - 1)
        for index in range(first, len(self._frames)):
            pixels = self._frames[index, ..., :3].detach().float().cpu().clamp(0, 1).numpy()
            picture = av.VideoFrame.from_ndarray(np.rint(pixels * 65535).astype(np.uint16), format="rgb48le")
            yield TimedFrame(index / self.rate, 1 / self.rate, picture)


class _LedAstrayError(Exception):
    """A frame that had to come did not: the file is damaged there, or its time stamps are not true."""


class FileClip(Clip):
    """A container that FFmpeg reads.

    AVI numbers its packets, which are in the order of decoding, and says nothing of when a picture is shown; FFmpeg's
    guess is off by a frame, or out of order, where a codec shows them in another (B-frames). There pictures are counted
    instead, from the beginning of the file on: the first that comes out has the time of the first packet, and so on.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream) -> None:
        self._container, self._stream = container, stream
        stream.thread_type = "AUTO"
        self._is_counted = container.format.name == "avi" and stream.codec_context.has_b_frames
        self._stamps: deque[int] = deque()
        self._leaves_out = not self._is_counted
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        self.rate = rate if 0 < rate <= _UNUSUAL_RATE else None
        self.pixel_aspect = float(stream.sample_aspect_ratio or 1) or 1.0
        self._origin = float((stream.start_time or 0) * stream.time_base)
        if stream.duration:
            self.length = float(stream.duration * stream.time_base)
        elif container.duration:
            self.length = container.duration / av.time_base

    def frames(self, start: float = 0.0) -> Iterator[TimedFrame]:
        self.wanted = max(self.wanted, start)
        try:
            yield from self._from(start)
        except _LedAstrayError:
            self._leaves_out = False
            if self.wanted <= 0:
                self._container.seek(0)
            yield from self._from(self.wanted)

    def _from(self, start: float) -> Iterator[TimedFrame]:
        if start > 0 and not self._is_counted and self._seek(start):
            decoded = self._decode()
            first = next(decoded, None)
            if first is not None and first.time <= start:
                yield first
                yield from decoded
                return
            # An index may lead past the wanted frame: then read from the beginning.
            self._container.seek(0)
        yield from self._decode()

    def _seek(self, start: float) -> bool:
        """Go to the key frame before ``start``; False where the container cannot, which leaves it where it is."""
        if self._stream.start_time is None:
            return False
        try:
            self._container.seek(int((start + self._origin) / self._stream.time_base), stream=self._stream)
        except (av.FFmpegError, OSError):
            return False
        return True

    def _decode(self) -> Iterator[TimedFrame]:
        duration = 1 / self.rate if self.rate else 0.0
        expected, latest = 0.0, -math.inf
        codec = self._stream.codec_context.name if self._leaves_out else ""
        plan = PacketPlan(self._container.demux(self._stream), codec, self._time)
        for picture in self._pictures(plan):
            stamp = picture.pts if picture.pts is not None else picture.dts
            time = expected if stamp is None else self._time(stamp)
            # The duration of a frame came late to PyAV; the rate serves where it is missing.
            ticks = getattr(picture, "duration", None)
            if ticks and picture.time_base:
                duration = float(ticks * picture.time_base)
            expected = time + duration
            if latest < plan.due() < time:
                raise _LedAstrayError
            latest = max(latest, time)
            yield TimedFrame(time, duration, picture)
        if latest < plan.due():
            raise _LedAstrayError

    def _time(self, stamp: int) -> float:
        return float(stamp * self._stream.time_base) - self._origin

    def _pictures(self, plan: PacketPlan) -> Iterator[av.VideoFrame]:
        """Everything wanted that decodes; what does not is skipped and noted in ``damaged``."""
        decoder = self._stream.codec_context
        for packet, afresh, needless in plan.steps(lambda: self.wanted):
            if afresh:
                decoder.flush_buffers()
            decoder.skip_frame = "NONREF" if needless else "DEFAULT"
            self.damaged |= packet.is_corrupt
            if self._is_counted and packet.size:
                self._stamps.append(packet.dts)
            yield from self._decoded(packet)
        if plan.failed:
            self.damaged = True
            yield from self._decoded(None)

    def _decoded(self, packet: av.Packet | None) -> Iterator[av.VideoFrame]:
        try:
            pictures = self._stream.codec_context.decode(packet)
        except (av.FFmpegError, OSError):
            self.damaged = True
            return
        for picture in pictures:
            if self._stamps:
                picture.pts = self._stamps.popleft()
            if picture.is_corrupt:
                self.damaged = True
            else:
                yield picture


class WebpClip(Clip):
    """An animated WebP, which FFmpeg builds commonly cannot decode."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image

    def frames(self, start: float = 0.0) -> Iterator[TimedFrame]:
        time = 0.0
        for index in range(getattr(self._image, "n_frames", 1)):
            try:
                self._image.seek(index)
                pixels = np.asarray(self._image.convert("RGBA"))
            except (OSError, EOFError, ValueError):
                self.damaged = True
                return
            duration = (self._image.info.get("duration") or 100) / 1000
            yield TimedFrame(time, duration, av.VideoFrame.from_ndarray(pixels, format="rgba"))
            time += duration


@contextmanager
def open_clip(source: str | Path | BinaryIO | Clip, name: str) -> Iterator[Clip]:
    """The clip in a file, in an open binary file, or given; closed on leaving.

    Raises :class:`InputError` under ``name`` for what is missing, empty, unreadable or not a video.
    """
    if isinstance(source, Clip):
        yield source
        return
    if _head(source, name)[8:12] == b"WEBP":
        with _open_webp(source, name) as image:
            yield WebpClip(image)
        return
    with _open_container(source, name) as container:
        yield FileClip(container, _video_stream(container, name))


def picture_size(source: str | Path | BinaryIO, name: str) -> tuple[int, int]:
    """Stored ``(width, height)`` of the pictures in a file, in pixels, before any rotation. Raises as ``open_clip``."""
    _head(source, name)
    with _open_container(source, name) as container:
        stream = _video_stream(container, name)
        return stream.width, stream.height


def _head(source: str | Path | BinaryIO, name: str) -> bytes:
    """The first bytes, leaving an open file at its beginning."""
    if isinstance(source, str | Path):
        path = Path(source)
        if not path.is_file():
            raise InputError(name, f"there is no file {str(path)!r}.", "Choose a file that exists, or upload it again.")
        try:
            with path.open("rb") as file:
                head = file.read(12)
        except OSError as error:
            raise InputError(
                name, f"{path.name} cannot be read: {error.strerror}.", "Check its permissions."
            ) from error
    else:
        source.seek(0)
        head = source.read(12)
        source.seek(0)
    if not head:
        raise InputError(name, f"{_label(source)} is empty.", "Copy or upload the file again.")
    return head


def _open_webp(source: str | Path | BinaryIO, name: str) -> Image.Image:
    try:
        return Image.open(source)
    except (OSError, ValueError) as error:
        raise InputError(
            name, f"{_label(source)} is a WebP file that cannot be read; it may be cut off.", _NOT_A_VIDEO
        ) from error


def _open_container(source: str | Path | BinaryIO, name: str) -> av.container.InputContainer:
    try:
        container = av.open(str(source) if isinstance(source, Path) else source, mode="r")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            name, f"{_label(source)} is not a video, or its beginning or end is missing.", _NOT_A_VIDEO
        ) from error
    if _TEXT_DEMUXERS.intersection(container.format.name.split(",")):
        container.close()
        raise InputError(name, f"{_label(source)} is a text file.", _NOT_A_VIDEO)
    return container


def _video_stream(container: av.container.InputContainer, name: str) -> av.VideoStream:
    stream = container.streams.best("video")
    if stream is None:
        raise InputError(name, "the file has no picture track.", _NOT_A_VIDEO)
    if stream.codec_context is None:
        raise InputError(
            name, "its picture track is in a format that cannot be decoded here.", "Convert it to H.264 in an mp4 file."
        )
    return stream


def _label(source: str | Path | BinaryIO) -> str:
    return Path(source).name if isinstance(source, str | Path) else "the video"
