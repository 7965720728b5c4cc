"""Take a few frames out of a video of any length, paying only for those: ``decode_frames``; and ``write_video``."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import BinaryIO

import torch

from .errors import InputError
from .video_geometry import Resize, canvas_for, render, upright_size
from .video_source import TIME_TOLERANCE, Clip, TensorClip, TimedFrame, open_clip, picture_size
from .video_writing import write_video

__all__ = ["DecodedClip", "TensorClip", "VideoRequest", "decode_frames", "picture_size", "write_video"]

logger = logging.getLogger(__name__)

_MOST_FRAMES, _HIGHEST_FPS, _LARGEST_SIDE, _LARGEST_MULTIPLE = 4096, 1000, 16384, 1024


@dataclass(frozen=True)
class VideoRequest:
    """Which frames of a clip, and how large. Raises :class:`InputError` for values that make no sense.

    ``start`` is in seconds. ``fps`` 0 takes the clip's own frames, else the frame nearest in time to each tick of
    that rate; ``stride`` then keeps every nth. ``width`` and ``height`` 0 keep the clip's; sizes are rounded to
    ``multiple_of``. ``resize`` is ``crop`` (fill, cut the overhang), ``fit`` (letterbox) or ``stretch``.
    """

    start: float = 0.0
    frames: int = 8
    fps: float = 0.0
    stride: int = 1
    width: int = 0
    height: int = 0
    resize: Resize = "crop"
    multiple_of: int = 8

    def __post_init__(self) -> None:
        limits = {
            "start": (0, math.inf, "seconds"),
            "frames": (2, _MOST_FRAMES, "frames; motion needs at least two"),
            "fps": (0, _HIGHEST_FPS, "frames per second; 0 is the clip's own"),
            "stride": (1, _MOST_FRAMES, "frames"),
            "width": (0, _LARGEST_SIDE, "pixels; 0 keeps the clip's"),
            "height": (0, _LARGEST_SIDE, "pixels; 0 keeps the clip's"),
            "multiple_of": (1, _LARGEST_MULTIPLE, "pixels"),
        }
        for name, (low, high, unit) in limits.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                span = f"at least {low}" if high == math.inf else f"from {low} to {high}"
                raise InputError(name, f"{value} is out of range.", f"Give a number {span} ({unit}).")
        if self.resize not in ("crop", "fit", "stretch"):
            raise InputError("resize", f"{self.resize!r} is unknown.", "Choose crop, fit or stretch.")


@dataclass(frozen=True)
class DecodedClip:
    """``frames`` float32 ``[F, H, W, 3]`` in 0..1, their rate, their times in the clip (s), what went wrong."""

    frames: torch.Tensor
    fps: float
    times: tuple[float, ...]
    warning: str | None = None


def decode_frames(
    source: str | Path | BinaryIO | Clip,
    request: VideoRequest,
    *,
    window: tuple[float, float] = (0.0, 0.0),
    name: str = "file",
    on_frame: Callable[[int], None] | None = None,
) -> DecodedClip:
    """Decode what ``request`` asks for, seeking to it and stopping after it, one full-size picture at a time.

    ``window`` is the part of the source that counts as the clip: ``(start, duration)`` in seconds, duration 0 for
    the rest. ``name`` is what errors call the source. ``on_frame`` is called with the number of frames kept so far
    after every decoded frame; it may raise to cancel.
    A clip that ends early gives the frames there are, at least two, and a warning.
    """
    with open_clip(source, name) as clip:
        reader = _Reader(clip, window, on_frame)
        if request.start >= reader.promised:
            raise _start_beyond(reader, request, reader.promised)
        frames, times = _collect(reader, request)
        if len(times) < 2:
            raise _too_few(reader, request, name, len(times))
        warning = _warning(reader, request, len(times))
    if warning:
        logger.warning("%s: %s", name, warning)
    return DecodedClip(frames, _rate(clip, request, times), tuple(times), warning)


class _Reader:
    """The frames of a clip inside a window, timed from its beginning; remembers how far reading came."""

    def __init__(self, clip: Clip, window: tuple[float, float], on_frame: Callable[[int], None] | None) -> None:
        self.clip = clip
        self.decoded, self.kept, self.reached = 0, 0, 0.0
        self._offset, self._on_frame = window[0], on_frame
        self._length = window[1] or math.inf
        self.promised = min(self._length, (clip.length or math.inf) - self._offset)
        """Seconds that header and window lead to expect; infinite where neither says."""

    @property
    def broken(self) -> bool:
        """Whether something failed to decode, or reading stopped clearly before the promised end."""
        return self.clip.damaged or (math.isfinite(self.promised) and self.promised - self.reached > 0.25)

    def want(self, time: float) -> None:
        """From here on, nothing is wanted but the frame nearest to ``time`` and later ones."""
        self.clip.wanted = max(self.clip.wanted, self._offset + time)

    def frames(self, start: float) -> Iterator[TimedFrame]:
        for absolute in self.clip.frames(self._offset + start):
            frame = absolute._replace(time=absolute.time - self._offset)
            if frame.time >= self._length - TIME_TOLERANCE:
                return
            self.decoded += 1
            self.reached = min(frame.time + frame.duration, self._length)
            if self._on_frame is not None:
                self._on_frame(self.kept)
            yield frame


def _collect(reader: _Reader, request: VideoRequest) -> tuple[torch.Tensor, list[float]]:
    """Rendered frames ``[F, H, W, 3]`` and their times; F is what the clip has, at most what is asked."""
    stream, pixel_aspect = reader.frames(request.start), reader.clip.pixel_aspect
    if request.fps:
        chosen = nearest_in_time(stream, _ticks(reader, request))
    else:
        chosen = islice(from_nearest(stream, request.start), 0, None, request.stride)
    frames, canvas, times = torch.empty(0), None, []
    for frame in islice(chosen, request.frames):
        if canvas is None:
            source = upright_size(frame.picture, pixel_aspect)
            canvas = canvas_for(source, request.width, request.height, request.resize, request.multiple_of)
            frames = _allocate(request.frames, canvas.height, canvas.width)
            # Through numpy: torch would wake all its threads for every little copy, which the decoder needs.
            pixels = frames.numpy()
        index = len(times)
        if times and times[-1] == frame.time:
            pixels[index] = pixels[index - 1]
        else:
            pixels[index] = render(frame.picture, canvas, pixel_aspect)
        times.append(frame.time)
        reader.kept = len(times)
    complete = len(times) == len(frames)
    return (frames if complete else frames[: len(times)].clone()), times


def _ticks(reader: _Reader, request: VideoRequest) -> Iterator[float]:
    """Times to take frames at, asked for one after the other."""
    for index in count():
        tick = request.start + index * request.stride / request.fps
        reader.want(tick)
        yield tick


def nearest_in_time(frames: Iterator[TimedFrame], targets: Iterator[float]) -> Iterator[TimedFrame]:
    """For each rising target (s) the frame nearest in time, the earlier of two; ends where the last frame ends."""
    previous: TimedFrame | None = None
    target = next(targets)
    for frame in frames:
        while frame.time >= target:
            yield frame if previous is None or _is_nearer(frame, previous, target) else previous
            target = next(targets)
        previous = frame
    while previous is not None and target < previous.time + previous.duration - TIME_TOLERANCE:
        yield previous
        target = next(targets)


def from_nearest(frames: Iterator[TimedFrame], start: float) -> Iterator[TimedFrame]:
    """All frames from the one nearest in time to ``start`` (s) on."""
    previous: TimedFrame | None = None
    for frame in frames:
        if frame.time < start:
            previous = frame
            continue
        if previous is not None and not _is_nearer(frame, previous, start):
            yield previous
        yield frame
        yield from frames
        return
    if previous is not None and start < previous.time + previous.duration - TIME_TOLERANCE:
        yield previous


def _is_nearer(frame: TimedFrame, previous: TimedFrame, target: float) -> bool:
    return frame.time - target < target - previous.time - TIME_TOLERANCE


def _allocate(frames: int, height: int, width: int) -> torch.Tensor:
    try:
        return torch.empty(frames, height, width, 3)
    except RuntimeError as error:
        size = frames * height * width * 3 * 4 / 2**30
        raise InputError(
            "frames", f"{frames} frames of {width}x{height} need {size:.1f} GB.", "Ask for fewer or smaller frames."
        ) from error


def _rate(clip: Clip, request: VideoRequest, times: list[float]) -> float:
    """Frames per second of what was kept."""
    if request.fps:
        return request.fps / request.stride
    elapsed = times[-1] - times[0]
    nominal = clip.rate / request.stride if clip.rate else 0.0
    measured = (len(times) - 1) / elapsed if elapsed > 0 else nominal or 1.0
    # Time stamps are rounded (to a millisecond in Matroska): trust the header unless the frames contradict it.
    return nominal if abs(measured - nominal) <= 0.02 * measured else measured


def _start_beyond(reader: _Reader, request: VideoRequest, length: float) -> InputError:
    end = f"the end of the clip, which is {length:.2f} s long"
    if reader.decoded and reader.broken:
        end = f"what can be read of the clip, {length:.2f} s; the file is damaged or cut off"
    return InputError("start", f"{request.start:g} s is at or after {end}.", "Start earlier.")


def _too_few(reader: _Reader, request: VideoRequest, name: str, kept: int) -> InputError:
    """Why fewer than two frames came out."""
    if not reader.decoded:
        mend = "Copy it again, or convert it to H.264 in an mp4 file."
        return InputError(name, "no frame can be decoded from it.", mend)
    if not kept:
        return _start_beyond(reader, request, reader.reached)
    if reader.decoded == 1:
        where = "the clip has" if request.start == 0 else f"after {request.start:g} s the clip has"
        mend = "Choose a longer clip or start earlier."
        return InputError(name, f"{where} only one frame; motion needs at least two.", mend)
    cause = f"only one frame is left with this start, rate and stride; the clip is {reader.reached:.2f} s long."
    return InputError(name, cause, "Start earlier, raise fps, or lower stride.")


def _warning(reader: _Reader, request: VideoRequest, kept: int) -> str | None:
    """What a person should know about frames that are missing, or None."""
    if kept < request.frames:
        cause = f"the clip ends at {reader.reached:.2f} s"
        if reader.broken:
            cause = f"the file is damaged or cut off and can be read up to {reader.reached:.2f} s only"
        return f"{kept} of the {request.frames} frames asked for: {cause}."
    if reader.clip.damaged:
        return "parts of the file are damaged; frames that cannot be decoded were left out."
    return None
