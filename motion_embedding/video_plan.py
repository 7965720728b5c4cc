"""What decoding a clip would give, said from its header and first picture: ``read_facts``, ``plan``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from .errors import InputError
from .video import VideoRequest
from .video_geometry import canvas_for, upright_size
from .video_source import TIME_TOLERANCE, Clip, TimedFrame, open_clip

_BYTES_PER_PIXEL = 12
_MOST_COUNTED = 5000


@dataclass(frozen=True)
class VideoFacts:
    """A clip as its header has it: seconds, frames per second, how many, upright display size in pixels.

    ``rotation`` is by how many degrees counter-clockwise stored pictures are turned for display.
    """

    duration: float
    fps: float
    frames: int
    width: int
    height: int
    rotation: int = 0


@dataclass(frozen=True)
class VideoPlan:
    """What ``decode_frames`` would return: frames, their rate and size, seconds of the first and the last of them.

    ``memory`` is the size in megabytes of the decoded frames. ``warning`` says what is missing, as after decoding.
    """

    frames: int
    fps: float
    width: int
    height: int
    start: float
    end: float
    memory: float
    warning: str | None = None


def read_facts(source: str | Path | BinaryIO | Clip, name: str = "file") -> VideoFacts:
    """The facts of a clip, for which one picture is decoded; all of them where the header gives no length or rate.

    Raises :class:`InputError` under ``name`` as ``open_clip`` does, and where no picture can be decoded.
    """
    with open_clip(source, name) as clip:
        stream = clip.frames()
        first = next(stream, None)
        if first is None:
            mend = "Copy it again, or convert it to H.264 in an mp4 file."
            raise InputError(name, "no frame can be decoded from it.", mend)
        width, height = (round(side) for side in upright_size(first.picture, clip.pixel_aspect))
        rotation = round(first.picture.rotation / 90) * 90 % 360
        if clip.length and clip.rate:
            length, rate, frames = clip.length, clip.rate, round(clip.length * clip.rate)
        else:
            length, rate, frames = _counted(clip, first, stream)
    return VideoFacts(length, rate, max(1, frames), width, height, rotation)


def _counted(clip: Clip, first: TimedFrame, rest: Iterator[TimedFrame]) -> tuple[float, float, int]:
    """Length, rate and number of frames, by reading them."""
    count, last = 1, first
    for frame in islice(rest, _MOST_COUNTED - 1):
        count, last = count + 1, frame
    length = last.time + last.duration
    if clip.length and count == _MOST_COUNTED:
        count, length = round(count / length * clip.length), clip.length
    return length, count / length if length > 0 else 1.0, count


def plan(facts: VideoFacts, request: VideoRequest) -> VideoPlan:
    """What ``request`` would take out of the clip, in the words and with the errors of ``decode_frames``.

    Exact for a constant frame rate and a header that tells the truth. Raises :class:`InputError` where fewer than two
    frames would come out.
    """
    if facts.frames < 2:
        raise InputError("file", "the clip has only one frame; motion needs at least two.", "Choose a longer clip.")
    if request.start >= facts.duration - TIME_TOLERANCE:
        cause = f"{request.start:g} s is at or after the end of the clip, which is {facts.duration:.2f} s long."
        raise InputError("start", cause, "Start earlier.")
    first = _nearest(facts, request.start)
    if request.fps:
        step = request.stride / request.fps
        there = math.ceil((facts.duration - request.start) / step - TIME_TOLERANCE)
    else:
        step = request.stride / facts.fps
        there = math.ceil((facts.frames - first) / request.stride)
    kept = min(request.frames, there)
    if kept < 2:
        cause = f"only one frame is left with this start, rate and stride; the clip is {facts.duration:.2f} s long."
        raise InputError("frames", cause, "Start earlier, raise fps, or lower stride.")
    canvas = canvas_for((facts.width, facts.height), request.width, request.height, request.resize, request.multiple_of)
    begin = first / facts.fps
    end = _nearest(facts, request.start + (kept - 1) * step) / facts.fps if request.fps else begin + (kept - 1) * step
    warning = None
    if kept < request.frames:
        warning = f"{kept} of the {request.frames} frames asked for: the clip ends at {facts.duration:.2f} s."
    memory = kept * canvas.width * canvas.height * _BYTES_PER_PIXEL / 2**20
    return VideoPlan(kept, 1 / step, canvas.width, canvas.height, begin, end, memory, warning)


def _nearest(facts: VideoFacts, time: float) -> int:
    """Index of the frame nearest in time, the earlier of two."""
    return max(0, min(facts.frames - 1, math.ceil(time * facts.fps - 0.5 - TIME_TOLERANCE)))
