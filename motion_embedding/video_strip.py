"""A film strip: small pictures of a clip, evenly spread over it, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image

from .errors import InputError
from .video_geometry import Canvas, render
from .video_plan import VideoFacts
from .video_source import Clip, TimedFrame, open_clip

_PIXELS_AFFORDED = 700_000_000
"""Clips of at most so many pixels get an exact strip: about two seconds on two cores, less with more key frames."""
_NARROWEST, _WIDEST = 0.4, 2.5


def film_strip(
    source: str | Path | BinaryIO | Clip, facts: VideoFacts, count: int, height: int, name: str = "file"
) -> bytes:
    """A JPEG of ``count`` pictures, ``height`` pixels high, from the middles of ``count`` equal parts of the clip.

    All pictures are as wide. Of a long clip each picture is the key frame before its time, so that the work does not
    grow with the length. Raises :class:`InputError` under ``name`` as ``open_clip`` does.
    """
    times = [(index + 0.5) / count * facts.duration for index in range(count)]
    shape = min(_WIDEST, max(_NARROWEST, facts.width / facts.height))
    canvas = Canvas(max(1, round(height * shape)), height, "crop")
    with open_clip(source, name) as clip:
        pictures = [render(frame.picture, canvas, clip.pixel_aspect) for frame in _spread(clip, facts, times)]
    if not pictures:
        raise InputError(name, "no frame can be decoded from it.", "Copy it again, or convert it to an mp4 file.")
    pictures += pictures[-1:] * (count - len(pictures))
    strip = (np.concatenate(pictures, axis=1).clip(0, 1) * 255).round().astype(np.uint8)
    file = BytesIO()
    Image.fromarray(strip).save(file, "JPEG", quality=75)
    return file.getvalue()


def _spread(clip: Clip, facts: VideoFacts, times: Sequence[float]) -> Iterator[TimedFrame]:
    if clip.length is None or facts.frames * facts.width * facts.height <= _PIXELS_AFFORDED:
        yield from on_screen(clip.frames(), _wanted(clip, times))
        return
    for time in times:
        yield from islice(clip.frames(time), 1)


def _wanted(clip: Clip, times: Iterable[float]) -> Iterator[float]:
    """The rising ``times``, each made known to the clip when it is asked for."""
    for time in times:
        clip.wanted = time
        yield time


def on_screen(frames: Iterable[TimedFrame], times: Iterable[float]) -> Iterator[TimedFrame]:
    """For each of the rising ``times`` the frame that is shown then; the last one read where reading ends before."""
    coming = iter(times)
    time = next(coming, None)
    shown: TimedFrame | None = None
    for frame in frames:
        while shown is not None and time is not None and time < frame.time:
            yield shown
            time = next(coming, None)
        if time is None:
            return
        shown = frame
    while shown is not None and time is not None:
        yield shown
        time = next(coming, None)
