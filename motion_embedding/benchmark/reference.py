"""A clip as every method gets it: the same frames, size and rate, in one file that loses nothing more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
from PIL import Image

from ..errors import InputError
from ..video import VideoRequest, decode_frames, write_video
from ..video_source import Clip as FrameSource
from ..video_source import TimedFrame
from .clips import PICTURES, in_order
from .items import Clip

_INSIDE = 0.2
"""Brightness from which a pixel of a scaled mask is inside; the first colour of DAVIS is half bright."""


def prepare_reference(clip: Clip, form: VideoRequest, target: Path) -> None:
    """Write the part of ``clip`` that ``form`` asks for to ``target``, an mp4; ``form.start`` counts from the clip's.

    H.264 at quantiser 0 in yuv420p: after the one rounding from RGB, which halves the resolution of colour, nothing
    is lost. 4:4:4 would keep that too, but readers that hand on yuv420p, and most players, would not. The same
    frames give the same bytes with the same encoder. Raises :class:`InputError` named ``clips.<name>`` for a clip
    that cannot be read or is too short.
    """
    name = f"clips.{clip.name}"
    source = PictureFolder(clip.source, clip.fps, name) if clip.source.is_dir() else clip.source
    decoded = decode_frames(source, replace(form, start=form.start + clip.start), name=name)
    if len(decoded.frames) < form.frames:
        mend = "Ask for fewer frames, a higher format.fps (0 takes every frame) or a lower stride, or start earlier."
        raise InputError(name, decoded.warning or "it is too short.", mend)
    write_video(target, decoded.frames, decoded.fps, lossless=True)


def reference_digest(path: Path) -> str:
    """SHA-256 of what a prepared reference shows: size, rate and decoded samples.

    Not of the file, in which encoders write their version: decoding H.264 is exact, so this is equal on every machine.
    """
    digest = hashlib.sha256()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        digest.update(f"{stream.width}x{stream.height} at {stream.average_rate}".encode())
        for frame in container.decode(stream):
            digest.update(np.ascontiguousarray(frame.to_ndarray(format="yuv420p")).tobytes())
    return digest.hexdigest()


def object_path(clip: Clip, form: VideoRequest) -> np.ndarray | None:
    """Where the object of ``clip`` is in its prepared reference, from its masks.

    Returns:
        ``[F, 2]``: (x, y) in pixels of the mean place of what is not black, NaN where there is nothing; None where
        the clip has no masks, or not one for each frame.
    """
    if clip.masks is None or not clip.fps:
        return None
    try:
        source = PictureFolder(clip.masks, clip.fps, f"clips.{clip.name}")
        masks = decode_frames(source, replace(form, start=form.start + clip.start)).frames.numpy()
    except InputError:
        return None
    inside = masks.max(-1) > _INSIDE
    path = np.full((len(masks), 2), np.nan)
    for index, mask in enumerate(inside):
        if mask.any():
            path[index] = np.argwhere(mask).mean(0)[::-1]
    return path if len(path) == form.frames else None


class PictureFolder(FrameSource):
    """A folder of pictures as a clip at ``fps``, in the order of the numbers in their names; ``name`` is for errors."""

    def __init__(self, folder: Path, fps: float, name: str) -> None:
        self._name = name
        self._files = in_order(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
        if not self._files:
            raise InputError(name, f"there is no picture in {folder}.", "Put .jpg or .png files there.")
        if not fps > 0:
            raise InputError(name, f"{folder} is a folder of pictures without a rate.", "Give the reader's fps.")
        self.rate = fps
        self.length = len(self._files) / fps

    def frames(self, start: float = 0.0) -> Iterator[TimedFrame]:
        for index in range(max(0, int(start * self.rate) - 1), len(self._files)):
            yield TimedFrame(index / self.rate, 1 / self.rate, self._picture(self._files[index]))

    def _picture(self, file: Path) -> av.VideoFrame:
        try:
            with Image.open(file) as image:
                return av.VideoFrame.from_ndarray(np.asarray(image.convert("RGB")), format="rgb24")
        except (OSError, ValueError) as error:
            raise InputError(self._name, f"{file} cannot be read: {error}.", "Copy it again.") from error
