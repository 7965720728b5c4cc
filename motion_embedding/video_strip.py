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

_PIXELS_AFFORDED = 300_000_000
"""Decoded before the strip stops being exact: about a second on two cores."""
_NARROWEST, _WIDEST = 0.4, 2.5


def film_strip(
    source: str | Path | BinaryIO | Clip, facts: VideoFacts, count: int, height: int, name: str = "file"
) -> bytes:
    """A JPEG of ``count`` pictures, ``height`` pixels high, from the middles of ``count`` equal parts of the clip.

    All pictures are as wide. Of a long clip each picture is at or some time after the key frame before its time,
    so that the work does not grow with the length. Raises :class:`InputError` under ``name`` as ``open_clip`` does.
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
    affordable = _PIXELS_AFFORDED // (facts.width * facts.height)
    if clip.length is None or facts.frames <= affordable:
        yield from on_screen(clip.frames(), times)
        return
    for time in times:
        yield from on_screen(islice(clip.frames(time), max(1, affordable // len(times))), [time])


def on_screen(frames: Iterable[TimedFrame], times: Sequence[float]) -> Iterator[TimedFrame]:
    """For each of the rising ``times`` the frame that is shown then; the last one read where reading ends before."""
    shown: TimedFrame | None = None
    answered = 0
    for frame in frames:
        while shown is not None and answered < len(times) and times[answered] < frame.time:
            yield shown
            answered += 1
        if answered == len(times):
            return
        shown = frame
    if shown is not None:
        for _ in times[answered:]:
            yield shown
